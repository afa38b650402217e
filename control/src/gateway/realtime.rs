//! What a model of OpenAI's Realtime API is told first, and where it is.
//!
//! <https://developers.openai.com/api/docs/guides/realtime>

use serde_json::{Map, Value, json};

use crate::config::model::{Realtime, RealtimeTool};

/// The URL, with the model that is asked for.
pub(super) fn url(url: &str, realtime: &Realtime) -> String {
    match &realtime.model {
        Some(model) => {
            let joint = if url.contains('?') { '&' } else { '?' };
            format!("{url}{joint}model={model}")
        }
        None => url.to_owned(),
    }
}

/// The texts: how the session is to be, then that the model is to greet.
pub(super) fn opening(realtime: &Realtime, may_transfer: bool) -> Vec<String> {
    let session = json!({"type": "session.update", "session": session(realtime, may_transfer)});
    let greeting = realtime
        .greeting
        .as_ref()
        .map(|greeting| json!({"type": "response.create", "response": {"instructions": greeting}}));
    std::iter::once(session)
        .chain(greeting)
        .map(|event| event.to_string())
        .collect()
}

/// The session: what the configuration has of it, with what a call needs.
fn session(realtime: &Realtime, may_transfer: bool) -> Value {
    let mut session = realtime.session.clone().unwrap_or_else(|| json!({}));
    let mut needed = json!({
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {
            "input": {"format": {"type": "audio/pcmu"}},
            "output": {"format": {"type": "audio/pcmu"}},
        },
    });
    if let Some(voice) = &realtime.voice {
        needed["audio"]["output"]["voice"] = json!(voice);
    }
    if let Some(instructions) = &realtime.instructions {
        needed["instructions"] = json!(instructions);
    }
    merge(&mut session, needed);
    let offered = realtime.tools.clone().unwrap_or_else(|| RealtimeTool::ALL.to_vec());
    let offered = offered.into_iter().filter(|tool| match tool {
        RealtimeTool::HangUp => true,
        RealtimeTool::Transfer => may_transfer,
    });
    let own = session["tools"].as_array().cloned().unwrap_or_default();
    let tools: Vec<Value> = own.into_iter().chain(offered.map(tool)).collect();
    if !tools.is_empty() {
        session["tools"] = Value::Array(tools);
    }
    session
}

/// A function that the model may call.
fn tool(tool: RealtimeTool) -> Value {
    let (description, properties) = match tool {
        RealtimeTool::HangUp => (
            "Ends the call, once what you have said has been heard. Say goodbye first.",
            json!({}),
        ),
        RealtimeTool::Transfer => (
            "Gives the caller to somebody else, once what you have said has been heard. Tell the caller first.",
            json!({"to": {"type": "string", "description": "Number to transfer to: + and digits (E.164)"}}),
        ),
    };
    let required: Vec<&String> = properties.as_object().map(Map::keys).into_iter().flatten().collect();
    json!({
        "type": "function",
        "name": tool.name(),
        "description": description,
        "parameters": {"type": "object", "properties": properties, "required": required},
    })
}

/// Puts what is `needed` into a value, object by object.
fn merge(value: &mut Value, needed: Value) {
    match (value, needed) {
        (Value::Object(fields), Value::Object(needed)) => {
            for (name, needed) in needed {
                merge(fields.entry(name).or_insert(Value::Null), needed);
            }
        }
        (value, needed) => *value = needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[String]) -> Vec<Value> {
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    #[test]
    fn a_session_is_in_pcmu_with_what_is_configured_and_the_functions_that_work() {
        let realtime = Realtime {
            voice: Some("marin".into()),
            instructions: Some("Be \"brief\".".into()),
            greeting: Some("Greet.".into()),
            session: Some(json!({
                "audio": {"input": {"format": {"type": "audio/pcm"}, "turn_detection": {"type": "semantic_vad"}}},
                "tools": [{"type": "mcp", "server_label": "own"}],
            })),
            ..Realtime::default()
        };
        let [update, greeting] = &parsed(&opening(&realtime, true))[..] else {
            panic!("two texts")
        };
        let session = &update["session"];
        assert_eq!(
            (&update["type"], &session["type"]),
            (&json!("session.update"), &json!("realtime"))
        );
        let input = &session["audio"]["input"];
        assert_eq!(input["format"], json!({"type": "audio/pcmu"}));
        assert_eq!(input["turn_detection"]["type"], "semantic_vad");
        assert_eq!(
            session["audio"]["output"],
            json!({"format": {"type": "audio/pcmu"}, "voice": "marin"})
        );
        assert_eq!(session["instructions"], "Be \"brief\".");
        let tools: Vec<&Value> = session["tools"].as_array().unwrap().iter().collect();
        assert_eq!(tools[0]["server_label"], "own");
        assert_eq!(
            (&tools[1]["name"], &tools[2]["name"]),
            (&json!("hang_up"), &json!("transfer_call"))
        );
        assert_eq!(tools[2]["parameters"]["required"], json!(["to"]));
        assert_eq!(
            greeting,
            &json!({"type": "response.create", "response": {"instructions": "Greet."}})
        );

        // Who may not transfer is not offered to.
        let [update] = &parsed(&opening(&Realtime::default(), false))[..] else {
            panic!("one text")
        };
        assert_eq!(update["session"]["tools"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn the_model_stands_in_the_url() {
        let realtime = Realtime {
            model: Some("gpt-realtime".into()),
            ..Realtime::default()
        };
        let plain = "wss://api.openai.com/v1/realtime";
        assert_eq!(url(plain, &realtime), format!("{plain}?model=gpt-realtime"));
        assert_eq!(url("wss://a/b?c=d", &realtime), "wss://a/b?c=d&model=gpt-realtime");
        assert_eq!(url(plain, &Realtime::default()), plain);
    }
}
