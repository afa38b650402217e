//! `protocol = "openai-realtime"`: the keys that say which model answers, and how.

use serde_json::Value;
use voxlane_dataplane::media_plane::WebProtocol;

use super::login::{secret, secret_file};
use super::model::{Realtime, RealtimeTool};
use super::reader::{Section, quoted};
use super::sections::distinct_list;
use super::value;

/// The keys that belong to it.
const KEYS: [&str; 8] = [
    "api_key",
    "api_key_file",
    "model",
    "voice",
    "instructions",
    "greeting",
    "tools",
    "session",
];

/// Reads the keys of an agent that speaks `protocol`.
pub(super) fn read(section: &mut Section<'_>, protocol: WebProtocol) -> Option<Box<Realtime>> {
    let is_realtime = protocol == WebProtocol::OpenAiRealtime;
    if let Some(key) = KEYS.into_iter().find(|key| section.has(key)).filter(|_| !is_realtime) {
        section.report(
            section.line,
            key,
            "is for the Realtime API; write protocol = \"openai-realtime\", or remove it",
        );
    }
    if section.has("api_key") && section.has("api_key_file") {
        let message = format!("is written beside {}; keep one of them", section.key("api_key"));
        section.report(section.line, "api_key_file", message);
    }
    let api_key = section.text("api_key", secret);
    let from_file = section.text("api_key_file", secret_file);
    let realtime = Realtime {
        api_key: api_key.or(from_file).map(|key| key.value),
        model: section.text("model", model).map(|model| model.value),
        voice: section.text("voice", value::line).map(|voice| voice.value),
        instructions: section.text("instructions", text).map(|text| text.value),
        greeting: section.text("greeting", text).map(|text| text.value),
        tools: distinct_list(section, "tools", tool),
        session: section.text("session", session).map(|session| session.value),
    };
    is_realtime.then(|| Box::new(realtime))
}

/// What stands in a URL as it is.
fn model(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is not the name of a model; write one such as \"gpt-realtime\""
        )),
    }
}

/// Any text: it may have several lines.
fn text(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("is empty".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn tool(text: &str) -> Result<RealtimeTool, String> {
    let same = |tool: &RealtimeTool| tool.name() == text;
    RealtimeTool::ALL
        .into_iter()
        .find(same)
        .ok_or_else(|| format!("{text:?} is unknown; there is {}", quoted(&RealtimeTool::ALL)))
}

/// More of the session, as JSON.
fn session(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(session @ Value::Object(_)) => Ok(session),
        Ok(_) => Err("is not a JSON object; write \"{ … }\"".to_owned()),
        Err(error) => Err(format!("is not JSON: {error}")),
    }
}
