//! Reads `[route]` and what a trunk says of the numbers that come on it.

use super::reader::{Located, Section};
use super::sections::{distinct_located, or};
use super::value;
use crate::route::number::{Numbers, Plan, Rule, Source};
use crate::sip::UnknownTenant;

/// What a domain template says where a tenant's name stands.
const TENANT: &str = "{tenant}";
/// Interoperability requirement I10.
const TEMPLATE: &str = "sip.{tenant}.trusst.cloud";
/// More than a number has.
const MOST_DIGITS: u64 = 32;

/// `[route]` as written.
pub(super) struct WrittenRoute {
    pub(super) domain_template: String,
    pub(super) unknown_tenant: UnknownTenant,
    pub(super) domains: Option<Vec<Located<String>>>,
}

/// Reads `[route]`.
pub(super) fn read(mut section: Section<'_>) -> WrittenRoute {
    let route = WrittenRoute {
        domain_template: or(section.text("domain_template", template), || TEMPLATE.to_owned()),
        unknown_tenant: or(section.text("unknown_tenant", unknown_tenant), UnknownTenant::default),
        domains: distinct_located(&mut section, "domains", domain),
    };
    section.finish();
    route
}

/// Reads what a trunk says of numbers.
pub(super) fn numbers(section: &mut Section<'_>) -> Numbers {
    let plan = or(section.text("numbers", plan), Plan::default);
    let source = or(section.text("number_from", source), Source::default);
    let rules = section.sections("number_rule").into_iter().map(rule).collect();
    Numbers { rules, plan, source }
}

fn rule(mut section: Section<'_>) -> Rule {
    let says = section.has("prefix") || section.has("length");
    let prefix = section.text("prefix", digits);
    let length = small(&mut section, "length", 1);
    if !says {
        section.report(
            section.line,
            "prefix",
            "and number_rule.length are both missing, so every number fits; write what this rule is for",
        );
    }
    let prefix = or(prefix, String::new);
    let strip = small(&mut section, "strip", 0).unwrap_or(prefix.len());
    let prepend = or(section.text("prepend", digits), || "+".to_owned());
    section.finish();
    Rule {
        prefix,
        length,
        strip,
        prepend,
    }
}

fn small(section: &mut Section<'_>, key: &'static str, least: u64) -> Option<usize> {
    let Located { value, .. } = section.integer(key, least..=MOST_DIGITS)?;
    usize::try_from(value).ok()
}

fn plan(text: &str) -> Result<Plan, String> {
    let country = |text: &str| {
        let code = text.strip_prefix('+')?;
        let valid = (1..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit()) && !code.starts_with('0');
        valid.then(|| code.to_owned())
    };
    match text {
        "strict" => Ok(Plan::Strict),
        "e164" => Ok(Plan::E164),
        "nanp" => Ok(Plan::Nanp),
        _ => country(text).map(Plan::Country).ok_or_else(|| {
            format!(
                "{text:?} is no numbering plan; write \"e164\", \"nanp\", \"strict\" or a country code such as \"+49\""
            )
        }),
    }
}

fn source(text: &str) -> Result<Source, String> {
    match text {
        "request-uri" => Ok(Source::RequestUri),
        "to" => Ok(Source::To),
        _ => Err(format!("{text:?} is neither \"request-uri\" nor \"to\"")),
    }
}

fn unknown_tenant(text: &str) -> Result<UnknownTenant, String> {
    match text {
        "404" => Ok(UnknownTenant::NotFound),
        "drop" => Ok(UnknownTenant::Drop),
        _ => Err(format!("{text:?} is neither \"404\" nor \"drop\"")),
    }
}

/// What numbers begin with: digits, and a '+' before them.
fn digits(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix('+').unwrap_or(text);
    let valid = rest
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'*' | b'#'));
    match valid && text.len() <= 32 {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} begins no number; write digits, with a \"+\" before them or without"
        )),
    }
}

fn template(text: &str) -> Result<String, String> {
    let once = text.matches(TENANT).count() == 1;
    match once.then(|| value::host(&text.replace(TENANT, "x"))) {
        Some(Ok(_)) => Ok(text.to_owned()),
        Some(Err(_)) | None => Err(format!(
            "{text:?} is no template of a domain; write one with {TENANT} once, such as {TEMPLATE:?}"
        )),
    }
}

/// A domain; carriers and their customers also write it as the address it stands in.
pub(super) fn domain(text: &str) -> Result<String, String> {
    value::host(text.strip_prefix("sip:").unwrap_or(text))
}
