//! From the numbers that carriers write to E.164 with '+': a trunk's own rules, then the numbering plan it goes by.
//!
//! What is no number ("alice", "anonymous") and what no rule makes one is left as it is: no DID has it.

use serde::{Deserialize, Serialize};

/// How the numbers of calls that come on a trunk are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// The trunk's own rules. The first that fits is followed, and the plan is not asked.
    pub rules: Vec<Rule>,
    /// What the others are taken for.
    pub plan: Plan,
    /// Where the number stands that is called.
    pub source: Source,
}

/// A rule of a trunk: what it fits, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What the number begins with; maybe nothing.
    pub prefix: String,
    /// How many characters it has, prefix included; `None`: any number.
    pub length: Option<usize>,
    /// How many of its first characters are taken away.
    pub strip: usize,
    /// What then is put before it.
    pub prepend: String,
}

/// What numbers without a '+' are taken for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plan {
    /// Nothing: a number has its '+'.
    Strict,
    /// A number with its country code, with the international prefix 00 or without.
    #[default]
    E164,
    /// As dialled in North America: 011 and a number of another country; 1 and ten digits, or ten digits.
    Nanp,
    /// As dialled in the country of this code: 00 and a number of any country, 0 and one of this, or all of it.
    Country(String),
}

/// Where the number stands that is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// In the Request-URI; in To where that has none.
    #[default]
    RequestUri,
    /// In To: for carriers whose Request-URI has the name of the trunk or a login.
    To,
}

/// Digits of the shortest number that is taken for one with its country code.
const SHORTEST: usize = 7;
/// Digits of the longest number there is (ITU-T E.164 section 6.1).
const LONGEST: usize = 15;

impl Numbers {
    /// A number, as the user part of a URI has it, in E.164 with '+'.
    pub fn e164(&self, user: &str) -> String {
        let number = bare(user);
        if let Some(mended) = self.rules.iter().find_map(|rule| rule.apply(&number)) {
            return mended;
        }
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        match digits.then(|| self.plan.mend(&number)).flatten() {
            Some(mended) if is_e164(&mended) => mended,
            Some(_) | None => number,
        }
    }
}

impl Rule {
    /// What becomes of a number that the rule fits.
    fn apply(&self, number: &str) -> Option<String> {
        let length = number.chars().count();
        let fits = number.starts_with(&self.prefix) && self.length.is_none_or(|wanted| wanted == length);
        fits.then(|| {
            let rest: String = number.chars().skip(self.strip).collect();
            format!("{}{rest}", self.prepend)
        })
    }
}

impl Plan {
    /// The number that these digits are.
    fn mend(&self, digits: &str) -> Option<String> {
        let international = |digits: &str| Some(format!("+{digits}"));
        match self {
            Self::Strict => None,
            Self::E164 => international(digits.strip_prefix("00").unwrap_or(digits)),
            Self::Nanp => match (digits.strip_prefix("011"), digits.strip_prefix('1')) {
                (Some(abroad), _) => international(abroad),
                (None, Some(home)) if is_nanp(home) => Some(format!("+1{home}")),
                (None, _) if is_nanp(digits) => Some(format!("+1{digits}")),
                (None, _) => None,
            },
            Self::Country(code) => match (digits.strip_prefix("00"), digits.strip_prefix('0')) {
                (Some(abroad), _) => international(abroad),
                (None, Some(home)) => Some(format!("+{code}{home}")),
                (None, None) => international(digits),
            },
        }
    }
}

/// Area code and subscriber, ten digits, neither of which begins with 0 or 1.
fn is_nanp(digits: &str) -> bool {
    let bytes = digits.as_bytes();
    let begins = |at: usize| bytes.get(at).is_some_and(|digit| (b'2'..=b'9').contains(digit));
    bytes.len() == 10 && begins(0) && begins(3)
}

/// Whether a text is a number in E.164 with '+'.
pub fn is_e164(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else {
        return false;
    };
    (SHORTEST..=LONGEST).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}

/// The user part without its parameters (number portability: `;npdi;rn=…`, RFC 4694), visual separators (RFC 3966 section
/// 5.1.1) and blanks. A number that is good only within another (`;phone-context=+1`, RFC 3966 section 5.1.5) is put behind it.
fn bare(user: &str) -> String {
    let mut parts = user.split(';');
    let plain = |text: &str| -> String {
        let separator = |c: &char| matches!(c, '-' | '.' | '(' | ')' | ' ');
        text.chars().filter(|c| !separator(c)).collect()
    };
    let number = plain(parts.next().unwrap_or_default());
    let context = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let is_context = name.eq_ignore_ascii_case("phone-context") && value.starts_with('+');
        is_context.then(|| plain(value))
    });
    match context {
        Some(context) if !number.starts_with('+') => format!("{context}{number}"),
        Some(_) | None => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(plan: Plan, rows: &[(&str, &str)]) {
        let numbers = Numbers {
            plan,
            ..Numbers::default()
        };
        for (written, expected) in rows {
            assert_eq!(numbers.e164(written), *expected, "{written} by {:?}", numbers.plan);
        }
    }

    #[test]
    fn with_a_country_code() {
        mended(
            Plan::E164,
            &[
                ("+15550001", "+15550001"),
                ("15550001", "+15550001"),
                ("0015550001", "+15550001"),
                ("+1-(555)-0.001", "+15550001"),
                ("1 555 0001", "+15550001"),
                ("+15550001;npdi;rn=+15559999", "+15550001"),
                ("5550001;phone-context=+1", "+15550001"),
                ("+15550001;phone-context=+49", "+15550001"),
                // What is none stays as it is.
                ("911", "911"),
                ("05550001", "05550001"),
                ("1234567890123456", "1234567890123456"),
                ("alice", "alice"),
                ("anonymous", "anonymous"),
                ("", ""),
            ],
        );
        mended(Plan::Strict, &[("+15550001", "+15550001"), ("15550001", "15550001")]);
    }

    #[test]
    fn as_dialled_in_a_country() {
        mended(
            Plan::Nanp,
            &[
                ("12125550001", "+12125550001"),
                ("2125550001", "+12125550001"),
                ("0114930123456", "+4930123456"),
                ("+4930123456", "+4930123456"),
                // Neither is of the plan.
                ("1125550001", "1125550001"),
                ("4930123456789", "4930123456789"),
                ("5550001", "5550001"),
            ],
        );
        mended(
            Plan::Country("49".to_owned()),
            &[
                ("030123456", "+4930123456"),
                ("0012125550001", "+12125550001"),
                ("4930123456", "+4930123456"),
            ],
        );
    }

    #[test]
    fn a_rule_goes_before_the_plan_and_the_first_that_fits_counts() {
        let rule = |prefix: &str, length, strip, prepend: &str| Rule {
            prefix: prefix.to_owned(),
            length,
            strip,
            prepend: prepend.to_owned(),
        };
        let numbers = Numbers {
            rules: vec![
                rule("9", Some(5), 1, "+1555000"),
                rule("9", None, 1, "+"),
                rule("", Some(4), 0, "+1555000"),
            ],
            ..Numbers::default()
        };
        for (written, expected) in [
            ("91234", "+15550001234"),
            ("915550001", "+15550001"),
            ("1234", "+15550001234"),
            ("15550001", "+15550001"),
        ] {
            assert_eq!(numbers.e164(written), expected, "{written}");
        }
        // More than there is cannot be taken away.
        assert_eq!(rule("", None, 9, "+").apply("12"), Some("+".to_owned()));
    }
}
