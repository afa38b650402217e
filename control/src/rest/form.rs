//! What is asked for, from the parameters of a request. One that is not known is refused rather than passed over: whoever asks
//! for a recording is not to wait for it in vain.

use crate::campaign::{Change, PlacedApplication, WrittenDocument};
use crate::ops::timestamp::Timestamp;
use crate::rest::Status;
use crate::rest::problem::Problem;
use crate::rest::register::Entry;
use crate::route::number::is_e164;
use crate::twiml::web_url;

/// Name and value, decoded.
pub type Parameters = Vec<(String, String)>;

/// Calls on a page, unless asked for otherwise, and at most.
const PAGE_SIZE: usize = 50;
const MOST_ON_A_PAGE: usize = 1000;
/// Longest time that a call may ring, seconds.
const LONGEST_RING: u32 = 600;

/// A parameter that is wrong.
const WRONG: u16 = 20001;
const NO_TO: u16 = 21201;
const WRONG_URL: u16 = 21205;
const WRONG_TIMEOUT: u16 = 21208;
const WRONG_METHOD: u16 = 21209;
const WRONG_TO: u16 = 21211;
const WRONG_FROM: u16 = 21212;
const NO_FROM: u16 = 21213;

/// A call that is to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// The number to call.
    pub to: String,
    /// The number to show.
    pub from: String,
    /// What it is given to.
    pub application: PlacedApplication,
    /// How long it may ring, seconds.
    pub ring_timeout_s: u32,
}

/// Which calls are to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// As they were written.
    pub filters: Parameters,
    conditions: Vec<Condition>,
    /// Most calls on the page.
    pub size: usize,
    /// Which page it is.
    pub page: u64,
    /// The number that the last call on the page before stands under.
    pub after: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    To(String),
    From(String),
    Status(Status),
    Parent,
    Time(Which, When, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Start,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    On,
    Until,
    From,
}

impl Create {
    /// Reads the parameters of a call that is to be placed.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(parameters: &Parameters) -> Result<Self, Problem> {
        const KNOWN: [&str; 11] = [
            "To",
            "From",
            "Url",
            "Method",
            "Twiml",
            "FallbackUrl",
            "FallbackMethod",
            "StatusCallback",
            "StatusCallbackMethod",
            "StatusCallbackEvent",
            "Timeout",
        ];
        only(parameters, &KNOWN)?;
        let to = required(parameters, "To", NO_TO)?;
        let from = required(parameters, "From", NO_FROM)?;
        for (number, name, code) in [(&to, "To", WRONG_TO), (&from, "From", WRONG_FROM)] {
            if !is_e164(number) {
                let text =
                    format!("The '{name}' number {number:?} is not a valid phone number: write it in E.164, with '+'");
                return Err(Problem::Parameter(code, text));
            }
        }
        let document = document(parameters)?;
        if document.voice_url.is_some() == document.twiml.is_some() {
            let text = "Write Url or Twiml, one of them: what is to become of the call when it is answered";
            return Err(Problem::Parameter(WRONG_URL, text.to_owned()));
        }
        let events = parameters.iter().filter(|(name, _)| name == "StatusCallbackEvent");
        Ok(Self {
            to,
            from,
            application: PlacedApplication {
                document,
                voice_fallback_url: url(parameters, "FallbackUrl")?,
                voice_fallback_method: method(parameters, "FallbackMethod")?,
                status_callback: url(parameters, "StatusCallback")?,
                status_callback_method: method(parameters, "StatusCallbackMethod")?,
                status_callback_event: events.map(|(_, event)| event.clone()).collect(),
            },
            ring_timeout_s: match text(parameters, "Timeout") {
                None => 60,
                Some(written) => {
                    let seconds = written
                        .parse()
                        .ok()
                        .filter(|seconds| (1..=LONGEST_RING).contains(seconds));
                    let wrong = || format!("Timeout {written:?} is not a number of seconds from 1 to {LONGEST_RING}");
                    seconds.ok_or_else(|| Problem::Parameter(WRONG_TIMEOUT, wrong()))?
                }
            },
        })
    }
}

/// Reads the parameters of a change.
///
/// # Errors
/// What is wrong with them.
pub fn change(parameters: &Parameters) -> Result<Change, Problem> {
    only(parameters, &["Status", "Url", "Method", "Twiml"])?;
    let wrong = |text: String| Problem::Parameter(WRONG, text);
    let document = document(parameters)?;
    match (text(parameters, "Status").as_deref(), document.source().map_err(wrong)?) {
        (Some("completed"), None) => Ok(Change::HangUp),
        (Some("canceled"), None) => Ok(Change::TakeBack),
        (Some(other), None) => Err(wrong(format!(
            "Status {other:?} cannot be asked for; write \"completed\" or \"canceled\""
        ))),
        (None, None) => Err(wrong("Nothing is asked for; write Status, Url or Twiml".to_owned())),
        (Some(_), Some(_)) => Err(wrong(
            "Status, Url and Twiml exclude one another; write one of them".to_owned(),
        )),
        (None, Some(source)) => Ok(Change::Document(source)),
    }
}

impl List {
    /// Reads the parameters of a list.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(parameters: &Parameters) -> Result<Self, Problem> {
        let mut list = Self {
            filters: Vec::new(),
            conditions: Vec::new(),
            size: PAGE_SIZE,
            page: 0,
            after: None,
        };
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            let wrong = || Problem::Parameter(WRONG, format!("{name} is not to be {value:?}"));
            match name.as_str() {
                "PageSize" => list.size = value.parse().ok().filter(|size| *size > 0).ok_or_else(wrong)?,
                "Page" => list.page = value.parse().map_err(|_| wrong())?,
                "PageToken" => {
                    let number = value.strip_prefix("PA").and_then(|number| number.parse().ok());
                    list.after = Some(number.ok_or_else(wrong)?);
                }
                _ => {
                    list.conditions.push(condition(name, value)?);
                    list.filters.push((name.clone(), value.clone()));
                }
            }
        }
        list.size = list.size.min(MOST_ON_A_PAGE);
        Ok(list)
    }

    /// Whether a call is one of those that are asked for.
    pub fn fits(&self, entry: &Entry) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::To(number) => entry.to == *number,
            Condition::From(number) => entry.from == *number,
            Condition::Status(status) => entry.status == *status,
            // Calls have no others that they belong to.
            Condition::Parent => false,
            Condition::Time(which, when, moment) => {
                let time = match which {
                    Which::Start => Some(entry.answered.unwrap_or(entry.created)),
                    Which::End => entry.ended,
                };
                time.is_some_and(|time| lies(*when, Timestamp::from(time).as_str(), moment))
            }
        })
    }
}

fn condition(name: &str, value: &str) -> Result<Condition, Problem> {
    let (key, when) = match name.strip_suffix(['<', '>']) {
        Some(key) if name.ends_with('<') => (key, When::Until),
        Some(key) => (key, When::From),
        None => (name, When::On),
    };
    let wrong = || Problem::Parameter(WRONG, format!("{name} is not to be {value:?}"));
    match (key, when) {
        ("To", When::On) => Ok(Condition::To(value.to_owned())),
        ("From", When::On) => Ok(Condition::From(value.to_owned())),
        ("ParentCallSid", When::On) => Ok(Condition::Parent),
        ("Status", When::On) => {
            let named = Status::ALL.into_iter().find(|status| status.name() == value);
            named.map(Condition::Status).ok_or_else(wrong)
        }
        ("StartTime", when) => Ok(Condition::Time(Which::Start, when, moment(value).ok_or_else(wrong)?)),
        ("EndTime", when) => Ok(Condition::Time(Which::End, when, moment(value).ok_or_else(wrong)?)),
        _ => Err(unsupported(name)),
    }
}

/// `2026-11-27`, or `2026-11-27T07:05:09` with or without `Z`; as they sort.
fn moment(text: &str) -> Option<String> {
    const FORM: &str = "0000-00-00T00:00:00";
    let text = text.strip_suffix('Z').unwrap_or(text);
    let is_form = |form: &str| {
        let fits = |(form, byte): (u8, u8)| match form {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        };
        form.len() == text.len() && form.bytes().zip(text.bytes()).all(fits)
    };
    (is_form(&FORM[..10]) || is_form(FORM)).then(|| text.to_owned())
}

/// Whether a time lies on a day, until a moment, or from it on. A day alone is its first moment.
fn lies(when: When, time: &str, moment: &str) -> bool {
    let midnight = format!("{moment}T00:00:00");
    let whole = if moment.len() == 10 { midnight.as_str() } else { moment };
    let time_of_day = time.get(..whole.len()).unwrap_or(time);
    match when {
        When::On => time.starts_with(moment.get(..10).unwrap_or(moment)),
        When::Until => time_of_day <= whole,
        When::From => time_of_day >= whole,
    }
}

fn only(parameters: &Parameters, known: &[&str]) -> Result<(), Problem> {
    let stranger = parameters.iter().find(|(name, _)| !known.contains(&name.as_str()));
    stranger.map_or(Ok(()), |(name, _)| Err(unsupported(name)))
}

fn unsupported(name: &str) -> Problem {
    Problem::Parameter(WRONG, format!("Parameter {name:?} is not supported by this gateway"))
}

/// A value that is written; an empty one is not.
fn text(parameters: &Parameters, name: &str) -> Option<String> {
    let found = parameters.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
}

fn required(parameters: &Parameters, name: &str, code: u16) -> Result<String, Problem> {
    let missing = || Problem::Parameter(code, format!("No '{name}' number is specified"));
    text(parameters, name).ok_or_else(missing)
}

/// The document that `Url` or `Twiml` has, or both have.
fn document(parameters: &Parameters) -> Result<WrittenDocument, Problem> {
    Ok(WrittenDocument {
        voice_url: url(parameters, "Url")?,
        voice_method: method(parameters, "Method")?,
        twiml: text(parameters, "Twiml"),
    })
}

fn url(parameters: &Parameters, name: &str) -> Result<Option<String>, Problem> {
    let written = text(parameters, name);
    if let Some(url) = &written {
        web_url(url).map_err(|why| Problem::Parameter(WRONG_URL, format!("{name}: {why}")))?;
    }
    Ok(written)
}

fn method(parameters: &Parameters, name: &str) -> Result<Option<String>, Problem> {
    match text(parameters, name) {
        Some(method) if !matches!(method.as_str(), "GET" | "POST") => {
            let text = format!("{name} {method:?} is not a method; write \"GET\" or \"POST\"");
            Err(Problem::Parameter(WRONG_METHOD, text))
        }
        method => Ok(method),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::call::CallId;
    use crate::rest::Direction;

    fn parameters(text: &str) -> Parameters {
        url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }

    #[test]
    fn a_call_that_is_to_be_placed() {
        let written = "To=%2B15550100&From=%2B15550199&Url=https%3A%2F%2Fapp.example%2Fvoice&Method=GET&Timeout=20\
            &StatusCallbackEvent=ringing&StatusCallbackEvent=completed";
        let create = Create::read(&parameters(written)).unwrap();
        assert_eq!((create.to.as_str(), create.ring_timeout_s), ("+15550100", 20));
        assert_eq!(create.application.document.voice_method.as_deref(), Some("GET"));
        assert_eq!(create.application.status_callback_event, ["ringing", "completed"]);
    }

    #[test]
    fn what_is_wrong_has_twilios_code() {
        let numbers = "To=%2B15550100&From=%2B15550199";
        for (written, code) in [
            ("From=%2B15550199&Twiml=x", NO_TO),
            ("To=%2B15550100&Twiml=x", NO_FROM),
            ("To=5550100&From=%2B15550199&Twiml=x", WRONG_TO),
            ("To=%2B15550100&From=anonymous&Twiml=x", WRONG_FROM),
            (numbers, WRONG_URL),
            (&format!("{numbers}&Url=ftp%3A%2F%2Fx"), WRONG_URL),
            (&format!("{numbers}&Url=http%3A%2F%2Fx&Twiml=x"), WRONG_URL),
            (&format!("{numbers}&Url=http%3A%2F%2Fx&Method=PUT"), WRONG_METHOD),
            (&format!("{numbers}&Twiml=x&Timeout=0"), WRONG_TIMEOUT),
            (&format!("{numbers}&Twiml=x&Record=true"), WRONG),
        ] {
            match Create::read(&parameters(written)) {
                Err(Problem::Parameter(found, _)) => assert_eq!(found, code, "{written}"),
                other => panic!("{written}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_change_is_one_thing() {
        assert_eq!(change(&parameters("Status=completed")), Ok(Change::HangUp));
        assert_eq!(change(&parameters("Status=canceled")), Ok(Change::TakeBack));
        assert!(matches!(
            change(&parameters("Url=http%3A%2F%2Fx")),
            Ok(Change::Document(_))
        ));
        for written in [
            "",
            "Status=busy",
            "Status=completed&Twiml=x",
            "Url=http%3A%2F%2Fx&Twiml=x",
            "TimeLimit=3",
        ] {
            assert!(change(&parameters(written)).is_err(), "{written}");
        }
    }

    #[test]
    fn lists_are_of_those_that_fit() {
        // 2026-11-27T07:05:09Z.
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_763_109);
        let entry = Entry::new(
            CallId(1),
            None,
            ("+15550199", "+15550100"),
            (Direction::Inbound, Status::Ringing),
            start,
        );
        for (written, fits) in [
            ("", true),
            ("To=%2B15550100&From=%2B15550199&Status=ringing", true),
            ("To=%2B15550101", false),
            ("Status=busy", false),
            ("StartTime=2026-11-27", true),
            ("StartTime=2026-11-26", false),
            ("StartTime%3C=2026-11-27", false),
            ("StartTime%3C=2026-11-28", true),
            ("StartTime%3E=2026-11-27", true),
            ("StartTime%3E=2026-11-27T07:05:10Z", false),
            ("StartTime%3C=2026-11-27T07:05:09Z", true),
            ("EndTime%3E=2020-01-01", false),
            ("ParentCallSid=CA1", false),
        ] {
            let list = List::read(&parameters(written)).unwrap();
            assert_eq!(list.fits(&entry), fits, "{written}");
        }
        for written in ["PageSize=0", "PageToken=5", "Status=x", "StartTime=today", "Colour=red"] {
            assert!(List::read(&parameters(written)).is_err(), "{written}");
        }
        assert_eq!(List::read(&parameters("PageSize=5000")).unwrap().size, MOST_ON_A_PAGE);
    }
}
