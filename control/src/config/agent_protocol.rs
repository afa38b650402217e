//! What an agent behind a WebSocket speaks: `agent.protocol`, and the keys that come with some protocols.

use voxlane_dataplane::agent::sound::Format;
use voxlane_dataplane::agent::{ControlMessages, Encoding};
use voxlane_dataplane::codec::resample::Rate;
use voxlane_dataplane::media_plane::WebProtocol;

use super::model::AgentEndpoint;
use super::reader::{Located, Section, quoted};

/// Sample rates that agents may ask for, Hz.
const RATES: [(u64, Rate); 4] = [
    (8000, Rate::Khz8),
    (16_000, Rate::Khz16),
    (24_000, Rate::Khz24),
    (48_000, Rate::Khz48),
];

/// Formats by Asterisk's names.
const FORMATS: [(&str, Format); 6] = [
    ("ulaw", Format::Ulaw),
    ("alaw", Format::Alaw),
    ("slin", Format::Linear(Rate::Khz8)),
    ("slin16", Format::Linear(Rate::Khz16)),
    ("slin24", Format::Linear(Rate::Khz24)),
    ("slin48", Format::Linear(Rate::Khz48)),
];

/// Codings by Telnyx's names.
const ENCODINGS: [(&str, Encoding); 2] = [("PCMU", Encoding::Pcmu), ("PCMA", Encoding::Pcma)];

/// Control messages by Asterisk's names.
const CONTROLS: [(&str, ControlMessages); 2] = [
    ("plain-text", ControlMessages::PlainText),
    ("json", ControlMessages::Json),
];

/// Keys that say more of a protocol.
const SAMPLE_RATE: &str = "sample_rate";
const ENCODING: &str = "encoding";
const FORMAT: &str = "format";
const CONTROL_MESSAGES: &str = "control_messages";

/// A protocol by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Twilio,
    Telnyx,
    Jambonz,
    AsteriskWebSocket,
    Pcm16,
    OpenAiRealtime,
}

impl Name {
    const ALL: [(&str, Self); 6] = [
        ("twilio", Self::Twilio),
        ("telnyx", Self::Telnyx),
        ("jambonz", Self::Jambonz),
        ("asterisk-websocket", Self::AsteriskWebSocket),
        ("pcm16", Self::Pcm16),
        ("openai-realtime", Self::OpenAiRealtime),
    ];

    /// The keys that say more of it.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Twilio | Self::OpenAiRealtime => &[],
            Self::Telnyx => &[ENCODING],
            Self::Jambonz | Self::Pcm16 => &[SAMPLE_RATE],
            Self::AsteriskWebSocket => &[FORMAT, CONTROL_MESSAGES],
        }
    }
}

/// What is written of a protocol.
struct Written {
    name: Option<Located<Name>>,
    rate: Option<Located<Rate>>,
    encoding: Option<Located<Encoding>>,
    format: Option<Located<Format>>,
    control: Option<Located<ControlMessages>>,
}

/// Reads what an agent speaks; an AudioSocket server's rate is part of its endpoint.
pub(super) fn read(section: &mut Section<'_>, mut endpoint: Option<&mut AgentEndpoint>) -> WebProtocol {
    let written = Written {
        name: section.text("protocol", |text| one_of(text, "a protocol", &Name::ALL)),
        rate: rate(section),
        encoding: section.text(ENCODING, |text| one_of(text, "a coding of audio", &ENCODINGS)),
        format: section.text(FORMAT, |text| one_of(text, "a format", &FORMATS)),
        control: section.text(CONTROL_MESSAGES, |text| {
            one_of(text, "a form of control messages", &CONTROLS)
        }),
    };
    if let (Some(AgentEndpoint::AudioSocket { rate, .. }), Some(read)) = (endpoint.as_deref_mut(), &written.rate) {
        *rate = read.value;
    }
    check(section, endpoint.as_deref(), &written);
    let rate = written.rate.map_or(Rate::Khz8, |rate| rate.value);
    match written.name.map_or(Name::Twilio, |name| name.value) {
        Name::Twilio => WebProtocol::Twilio,
        Name::Telnyx => WebProtocol::Telnyx(written.encoding.map_or_else(Encoding::default, |read| read.value)),
        Name::Jambonz => WebProtocol::Jambonz(rate),
        Name::AsteriskWebSocket => WebProtocol::Asterisk {
            format: written.format.map_or(Format::Ulaw, |format| format.value),
            control: written.control.map_or_else(ControlMessages::default, |read| read.value),
        },
        Name::Pcm16 => WebProtocol::Pcm16(rate),
        Name::OpenAiRealtime => WebProtocol::OpenAiRealtime,
    }
}

/// Reports what does not go together.
fn check(section: &Section<'_>, endpoint: Option<&AgentEndpoint>, written: &Written) {
    let Written {
        name,
        rate,
        encoding,
        format,
        control,
    } = written;
    match (endpoint, name) {
        (Some(AgentEndpoint::Echo | AgentEndpoint::Tone { .. }), Some(name)) => {
            let why = "a built-in agent speaks no protocol; write url = \"ws://…\" or \"wss://…\", or leave this out";
            section.report(name.line, "protocol", why);
        }
        (Some(AgentEndpoint::AudioSocket { .. }), Some(name)) => {
            let why = "an AudioSocket server speaks no other protocol; write url = \"ws://…\" or \"wss://…\", or leave this out";
            section.report(name.line, "protocol", why);
        }
        (Some(AgentEndpoint::Web { .. }) | None, _)
        | (Some(AgentEndpoint::Echo | AgentEndpoint::Tone { .. } | AgentEndpoint::AudioSocket { .. }), None) => {}
    }
    let spoken = name.as_ref().map_or(Name::Twilio, |name| name.value);
    let lines = [
        (SAMPLE_RATE, rate.as_ref().map(|read| read.line)),
        (ENCODING, encoding.as_ref().map(|read| read.line)),
        (FORMAT, format.as_ref().map(|read| read.line)),
        (CONTROL_MESSAGES, control.as_ref().map(|read| read.line)),
    ];
    let is_audiosocket = matches!(endpoint, Some(AgentEndpoint::AudioSocket { .. }));
    for (key, line) in lines {
        let fits = spoken.keys().contains(&key) || is_audiosocket && key == SAMPLE_RATE;
        if let Some(line) = line.filter(|_| !fits) {
            let of = Name::ALL.iter().filter(|(_, name)| name.keys().contains(&key));
            let of: Vec<&str> = of.map(|(name, _)| *name).collect();
            section.report(line, key, format!("goes with protocol = {}", quoted(&of)));
        }
    }
}

fn rate(section: &mut Section<'_>) -> Option<Located<Rate>> {
    let Located { value: hertz, line } = section.integer(SAMPLE_RATE, 1..=192_000)?;
    match RATES.iter().find(|(known, _)| *known == hertz) {
        Some((_, rate)) => Some(Located { value: *rate, line }),
        None => {
            let known: Vec<String> = RATES.iter().map(|(known, _)| known.to_string()).collect();
            let why = format!(
                "{hertz} is not a sample rate that is known; write one of {} (Hz)",
                known.join(", ")
            );
            section.report(line, SAMPLE_RATE, why);
            None
        }
    }
}

/// The one of this name.
fn one_of<T: Copy>(text: &str, what: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        format!("{text:?} is not {what}; write one of {}", quoted(&names))
    })
}
