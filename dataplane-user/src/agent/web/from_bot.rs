//! What bots say in protocols that are made after Twilio's: text in, no I/O.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::payload::quoted;
use crate::media_plane::TransferRequest;

/// What a bot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBot<'a> {
    /// Audio to play, of any length.
    Media {
        /// What is between the quotes in JSON: base64 of µ-law. See [`Decoder`](super::payload::Decoder).
        payload: &'a str,
    },
    /// Tell me when what I sent so far has been played.
    Mark {
        /// What to call it.
        name: Cow<'a, str>,
    },
    /// Forget what has not been played.
    Clear,
    /// Transfer the call. Twilio has no such message.
    Transfer(TransferRequest),
    /// Something this gateway does not know.
    Unknown,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    media: Option<Media<'a>>,
    #[serde(borrow, default)]
    mark: Option<Mark<'a>>,
    /// Read when it is wanted: in other messages it may be anything.
    #[serde(borrow, default)]
    transfer: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Media<'a> {
    /// As it was written: to take the escapes out would take room.
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct Mark<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

impl<'a> FromBot<'a> {
    /// Reads a message. Keys it does not need may hold anything.
    ///
    /// # Errors
    /// It is not JSON, or lacks what its event needs.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        let message: Message<'a> = serde_json::from_str(text)?;
        let missing = |what| <serde_json::Error as serde::de::Error>::missing_field(what);
        match (message.event.as_ref(), message.media, message.mark) {
            ("media", Some(media), _) => match quoted(media.payload.get()) {
                Some(payload) => Ok(Self::Media { payload }),
                None => Err(missing("payload")),
            },
            ("media", None, _) => Err(missing("media")),
            ("mark", _, Some(mark)) => Ok(Self::Mark { name: mark.name }),
            ("mark", _, None) => Err(missing("mark")),
            ("clear", ..) => Ok(Self::Clear),
            ("transfer", ..) => match message.transfer {
                Some(transfer) => serde_json::from_str(transfer.get()).map(Self::Transfer),
                None => Err(missing("transfer")),
            },
            _ => Ok(Self::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::super::payload::{Decoder, NotBase64};
    use super::*;

    #[test]
    fn a_bot_may_ask_for_a_transfer() {
        let ask = |transfer: &str| {
            FromBot::parse(&format!(r#"{{"event":"transfer","streamSid":"MZ1"{transfer}}}"#))
                .map(|message| message == FromBot::Unknown)
        };
        let whole = r#"{"event":"transfer","transfer":{"to":"+15550100","trunk":"far","by":"refer"}}"#;
        let wanted = TransferRequest {
            to: "+15550100".into(),
            trunk: Some("far".into()),
            by: Some("refer".into()),
        };
        assert_eq!(FromBot::parse(whole).unwrap(), FromBot::Transfer(wanted));
        assert!(ask(r#","transfer":{"to":"+15550100"}"#).is_ok());
        for wrong in [
            "",
            r#","transfer":{}"#,
            r#","transfer":{"to":"1","number":"2"}"#,
            r#","transfer":1"#,
        ] {
            assert!(ask(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bots_may_write_as_they_like() {
        // Pipecat sends no track, chunk or timestamp; PHP escapes slashes, Gson equals signs.
        for payload in ["/38=", r"\/38=", r"\u002f38\u003d"] {
            let message = format!(r#"{{"event":"media","media":{{"payload":"{payload}"}},"streamSid":"MZ1"}}"#);
            assert_eq!(FromBot::parse(&message).unwrap(), FromBot::Media { payload });
            assert_eq!(Decoder::default().decode(payload).unwrap(), [0xff, 0x7f]);
        }
        for payload in [
            "not base64!",
            r"\n\/38=",
            r"\u",
            r"\u+02f38=",
            r"\ud83d\ude00",
            "é",
            "\\",
        ] {
            assert_eq!(Decoder::default().decode(payload), Err(NotBase64), "{payload}");
        }
        let mark = r#"{"streamSid":"MZ1","mark":{"name":"m\u00e9"},"event":"mark"}"#;
        assert_eq!(FromBot::parse(mark).unwrap(), FromBot::Mark { name: "mé".into() });
        assert_eq!(
            FromBot::parse(r#"{"event":"clear","streamSid":"x"}"#).unwrap(),
            FromBot::Clear
        );
        assert_eq!(
            FromBot::parse(r#"{"event":"other","media":null}"#).unwrap(),
            FromBot::Unknown
        );
        for damaged in [
            "",
            "{",
            "[]",
            r#"{"event":"media"}"#,
            r#"{"event":"media","media":{"payload":5}}"#,
            r#"{"event":"mark","mark":{}}"#,
            r#"{"event":5}"#,
        ] {
            assert!(FromBot::parse(damaged).is_err(), "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn nothing_a_bot_sends_panics(text: String) {
            let _ = FromBot::parse(&text);
            let _ = Decoder::default().decode(&text);
        }

        /// However a bot escapes its base64, and however long it is.
        #[test]
        fn audio_survives(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..4), escape: bool) {
            let mut decoder = Decoder::default();
            for ulaw in chunks {
                let mut payload = STANDARD.encode(&ulaw);
                if escape {
                    payload = payload.replace('/', r"\/").replace('=', r"\u003d").replace('+', r"\u002B");
                }
                prop_assert_eq!(decoder.decode(&payload).unwrap(), &ulaw[..]);
            }
        }
    }
}
