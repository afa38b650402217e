//! From the text of a document to its verbs.
//!
//! A document is read whole before anything of it is carried out: one that has a verb, noun or value that there is not is
//! refused, with the line. What is understood but has no effect here, an attribute mostly, is passed over with a warning.

mod element;

use std::time::Duration;

use roxmltree::{Node, ParsingOptions};
use url::Url;
use voxlane_dataplane::media_plane::TrackName;

use self::element::Element;
use super::verbs::{
    Answer, Connect, Dial, Instruction, OnStar, Party, Play, Refer, Rejection, SipUri, Start, Stream, Verb, method,
};
use super::{Link, Method, Problem, code, url_from};

/// Largest document, bytes, as at Twilio.
pub const MOST_BYTES: usize = 64 << 10;
/// Most elements, texts and comments.
const MOST_NODES: u32 = 4096;
/// Longest that somebody may ring, pause or talk.
const A_DAY: u32 = 86_400;
/// Longest that somebody who is dialled may ring, seconds.
const LONGEST_RINGING: u32 = 600;

/// A document that can be carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// What is to be done, in order.
    pub instructions: Vec<Instruction>,
    /// What is passed over.
    pub warnings: Vec<Problem>,
}

/// What reading goes on with.
struct Reading<'a> {
    base: Option<&'a Url>,
    warnings: Vec<Problem>,
}

impl Document {
    /// Reads a document that came from `base`, which its relative URLs are of.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str, base: Option<&Url>) -> Result<Self, Problem> {
        if text.len() > MOST_BYTES {
            let text = format!("the document has {} bytes; {MOST_BYTES} are the most", text.len());
            return Err(Problem::new(code::NOT_XML, text));
        }
        let options = ParsingOptions {
            nodes_limit: MOST_NODES,
            ..ParsingOptions::default()
        };
        // Frameworks write a line break before the declaration; Twilio minds it as little.
        let text = text.trim_start();
        let tree = roxmltree::Document::parse_with_options(text, options)
            .map_err(|error| Problem::new(code::NOT_XML, format!("the document is not XML: {error}")))?;
        let root = Element::of(tree.root_element());
        if root.name() != "Response" {
            let text = format!("the document begins with <{}>, not with <Response>", root.name());
            return Err(root.wrong_as(code::WRONG_ROOT, &text));
        }
        let mut reading = Reading {
            base,
            warnings: Vec::new(),
        };
        let instructions = reading.verbs(&root)?;
        Ok(Self {
            instructions,
            warnings: reading.warnings,
        })
    }
}

impl Reading<'_> {
    fn verbs(&mut self, root: &Element<'_, '_>) -> Result<Vec<Instruction>, Problem> {
        let mut instructions = Vec::new();
        for child in root.children() {
            if let Some(text) = text_of(child) {
                let passed = format!("text {text:?} stands between verbs; it is passed over");
                self.warnings.push(Problem::new(code::SCHEMA, passed));
            }
            if child.is_element() {
                let mut element = Element::of(child);
                let verb = self.verb(&mut element)?;
                self.finish(&element);
                instructions.push(Instruction {
                    line: element.line(),
                    verb,
                });
            }
        }
        Ok(instructions)
    }

    fn verb(&mut self, element: &mut Element<'_, '_>) -> Result<Verb, Problem> {
        match element.name() {
            "Connect" => self.connect(element),
            "Start" => self.start(element),
            "Stop" => self.stop(element),
            "Dial" => self.dial(element),
            "Refer" => self.refer(element),
            "Play" => self.play(element),
            "Pause" => {
                element.has_no_children()?;
                let seconds = element.number("length", 0..=A_DAY)?.unwrap_or(1);
                Ok(Verb::Pause(Duration::from_secs(seconds.into())))
            }
            "Redirect" => {
                let method = self.method(element, "method")?;
                let url = self.url(element, &element.text()?)?;
                Ok(Verb::Redirect(Link { url, method }))
            }
            "Reject" => {
                element.has_no_children()?;
                match element.attribute("reason") {
                    None | Some("rejected") => Ok(Verb::Reject(Rejection::Rejected)),
                    Some("busy") => Ok(Verb::Reject(Rejection::Busy)),
                    Some(other) => Err(element.wrong(&format!("reason {other:?} is neither rejected nor busy"))),
                }
            }
            "Hangup" => {
                element.has_no_children()?;
                Ok(Verb::HangUp)
            }
            other => Err(element.wrong(&format!(
                "there is no verb <{other}>; there is Connect, Dial, Hangup, Pause, Play, Redirect, Refer, Reject, Start and Stop"
            ))),
        }
    }

    fn connect(&mut self, element: &mut Element<'_, '_>) -> Result<Verb, Problem> {
        let action = self.action(element)?;
        let mut noun = element.only_noun("Stream")?;
        match noun.attribute("track") {
            None | Some("inbound_track") => {}
            Some(other) => {
                let text = format!("track {other:?}: an agent that is connected hears inbound_track");
                return Err(noun.wrong(&text));
            }
        }
        let stream = self.stream(&mut noun)?;
        self.finish(&noun);
        Ok(Verb::Connect(Box::new(Connect { stream, action })))
    }

    fn start(&mut self, element: &mut Element<'_, '_>) -> Result<Verb, Problem> {
        let mut noun = element.only_noun("Stream")?;
        let tracks = match noun.attribute("track") {
            None | Some("inbound_track") => vec![TrackName::Inbound],
            Some("outbound_track") => vec![TrackName::Outbound],
            Some("both_tracks") => vec![TrackName::Inbound, TrackName::Outbound],
            Some(other) => {
                let text = format!("track {other:?} is none of inbound_track, outbound_track and both_tracks");
                return Err(noun.wrong(&text));
            }
        };
        let stream = self.stream(&mut noun)?;
        self.finish(&noun);
        Ok(Verb::Start(Box::new(Start { stream, tracks })))
    }

    fn stop(&mut self, element: &mut Element<'_, '_>) -> Result<Verb, Problem> {
        let mut noun = element.only_noun("Stream")?;
        noun.has_no_children()?;
        let name = noun.required("name")?.to_owned();
        self.finish(&noun);
        Ok(Verb::Stop(name))
    }

    fn stream(&mut self, element: &mut Element<'_, '_>) -> Result<Stream, Problem> {
        let url = element.required("url")?.trim().to_owned();
        let (host, port) = web_socket(&url).map_err(|why| element.wrong_as(code::STREAM_URL, &why))?;
        let status_callback = self.link(element, "statusCallback", "statusCallbackMethod")?;
        let mut parameters = Vec::new();
        for child in element.nouns()? {
            let mut parameter = Element::of(child);
            if parameter.name() != "Parameter" {
                return Err(parameter.wrong("in <Stream> stands <Parameter name=\"…\" value=\"…\"/>"));
            }
            let name = parameter.required("name")?.to_owned();
            parameters.push((name, parameter.required("value")?.to_owned()));
            self.finish(&parameter);
        }
        Ok(Stream {
            url,
            host,
            port,
            name: element.attribute("name").map(str::to_owned),
            parameters,
            status_callback,
        })
    }

    fn dial(&mut self, element: &mut Element<'_, '_>) -> Result<Verb, Problem> {
        let to = self.dialled(element)?;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let timeout = element.number("timeout", 1..=LONGEST_RINGING)?.unwrap_or(30);
        let time_limit = element.number("timeLimit", 1..=A_DAY)?.unwrap_or(14_400);
        let caller_id = match element.attribute("callerId") {
            None => None,
            Some(written) => {
                let text = format!("callerId {written:?} is not a number; write E.164 with '+'");
                let number = phone_number(written).ok_or_else(|| element.wrong_as(code::CALLER_ID, &text))?;
                Some(number)
            }
        };
        Ok(Verb::Dial(Box::new(Dial {
            to,
            caller_id,
            timeout: seconds(timeout),
            time_limit: seconds(time_limit),
            answer: match element.switch("answerOnBridge")? {
                true => Answer::OnBridge,
                false => Answer::AtOnce,
            },
            on_star: match element.switch("hangupOnStar")? {
                true => OnStar::HangUp,
                false => OnStar::Nothing,
            },
            action: self.action(element)?,
        })))
    }

    fn dialled(&mut self, element: &Element<'_, '_>) -> Result<Party, Problem> {
        let number = |element: &Element<'_, '_>, text: &str| {
            let wrong = || element.wrong(&format!("{text:?} is not a number; write E.164 with '+'"));
            phone_number(text).map(Party::Number).ok_or_else(wrong)
        };
        let nouns: Vec<Node<'_, '_>> = element.children().filter(Node::is_element).collect();
        match nouns.as_slice() {
            [] => number(element, &element.text()?),
            [noun] => {
                let noun = Element::of(*noun);
                let party = match noun.name() {
                    "Number" => number(&noun, &noun.text()?),
                    "Sip" => sip_uri(&noun).map(Party::Sip),
                    other => Err(noun.wrong(&format!("<{other}> cannot be dialled; write <Number> or <Sip>"))),
                };
                self.finish(&noun);
                party
            }
            [_, second, ..] => {
                Err(Element::of(*second).wrong("<Dial> calls one party; several at once are not called"))
            }
        }
    }

    fn refer(&mut self, element: &mut Element<'_, '_>) -> Result<Verb, Problem> {
        let action = self.action(element)?;
        let noun = element.only_noun("Sip")?;
        let to = sip_uri(&noun)?;
        self.finish(&noun);
        Ok(Verb::Refer(Box::new(Refer { to, action })))
    }

    fn play(&mut self, element: &mut Element<'_, '_>) -> Result<Verb, Problem> {
        if element.attribute("digits").is_some() {
            return Err(element.wrong("digits are not played; write the URL of a WAV file"));
        }
        let times = match element.number("loop", 0..=1000)? {
            Some(0) => None,
            times => Some(times.unwrap_or(1)),
        };
        let url = self.url(element, &element.text()?)?;
        Ok(Verb::Play(Play { url, times }))
    }

    fn action(&self, element: &mut Element<'_, '_>) -> Result<Option<Link>, Problem> {
        self.link(element, "action", "method")
    }

    fn link(
        &self,
        element: &mut Element<'_, '_>,
        key: &'static str,
        method_key: &'static str,
    ) -> Result<Option<Link>, Problem> {
        let method = self.method(element, method_key)?;
        match element.attribute(key).map(str::trim) {
            None | Some("") => Ok(None),
            Some(url) => Ok(Some(Link {
                url: self.url(element, url)?,
                method,
            })),
        }
    }

    fn method(&self, element: &mut Element<'_, '_>, key: &'static str) -> Result<Method, Problem> {
        let written = element.attribute(key).map(method).transpose();
        written
            .map(Option::unwrap_or_default)
            .map_err(|why| element.wrong(&format!("{key} {why}")))
    }

    fn url(&self, element: &Element<'_, '_>, text: &str) -> Result<Url, Problem> {
        url_from(text, self.base).map_err(|why| element.wrong(&why))
    }

    /// Warns of attributes that nobody has asked for.
    fn finish(&mut self, element: &Element<'_, '_>) {
        self.warnings.extend(element.unused());
    }
}

fn text_of<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.text()
        .filter(|_| node.is_text())
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

/// The host and port of a WebSocket URL.
fn web_socket(text: &str) -> Result<(String, u16), String> {
    let wrong = |why: &str| format!("{text:?} is not a WebSocket URL: {why}");
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "ws" | "wss" => {}
        _ => return Err(wrong("it begins with neither ws:// nor wss://")),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(wrong("it has a user, a password or a fragment"));
    }
    let host = url.host_str().ok_or_else(|| wrong("it has no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port_or_known_default().ok_or_else(|| wrong("it has no port"))?;
    Ok((host, port))
}

/// A number as people write it: without blanks, hyphens, dots and brackets.
fn phone_number(text: &str) -> Option<String> {
    let number: String = text
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')'))
        .collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    let valid = (2..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then_some(number)
}

/// The URI of a `<Sip>`.
fn sip_uri(element: &Element<'_, '_>) -> Result<SipUri, Problem> {
    let text = element.text()?;
    let wrong = |why: &str| element.wrong(&format!("{text:?} {why}; write sip:USER@HOST or sip:USER@HOST:PORT"));
    let rest = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:"));
    let rest = rest.ok_or_else(|| wrong("is not a SIP URI"))?;
    if rest.contains('?') {
        return Err(wrong("has headers, which are not sent"));
    }
    // How the carrier is reached says its trunk.
    let address = rest.split(';').next().unwrap_or_default();
    let (user, place) = address.split_once('@').ok_or_else(|| wrong("names no user"))?;
    let (host, port) = crate::config::split_host_port(place).ok_or_else(|| wrong("names no host"))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()+".contains(&byte);
    match (1..=64).contains(&user.len()) && user.bytes().all(plain) {
        true => Ok(SipUri {
            user: user.to_owned(),
            host,
            port,
        }),
        false => Err(wrong("has a user of other signs than letters, digits and -_.!~*'()+")),
    }
}

#[cfg(test)]
mod tests;
