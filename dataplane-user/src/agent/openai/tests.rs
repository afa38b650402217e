//! What is made of what a model says; the connection is tested where every protocol's is.

use super::super::web::protocol::Wishes;
use super::super::web::testing;
use super::*;
use crate::dtmf;
use crate::playout::DEFAULT_LIMIT;

struct Talk {
    agent: OpenAi,
    playout: Playout,
    keys: dtmf::Sender,
    wishes: Wishes,
}

impl Talk {
    fn new() -> Self {
        Self {
            agent: OpenAi::new(&testing::spec()),
            playout: Playout::new(DEFAULT_LIMIT),
            keys: dtmf::Sender::new(160),
            wishes: Wishes::default(),
        }
    }

    fn hear(&mut self, text: &str) {
        let mut said = Said {
            playout: &mut self.playout,
            keys: &mut self.keys,
            wishes: &mut self.wishes,
        };
        self.agent.text(text, &mut said).unwrap();
    }

    /// The model says so many milliseconds of an item.
    fn speak(&mut self, response: &str, item: &str, milliseconds: usize) {
        use base64::Engine as _;
        let delta = base64::engine::general_purpose::STANDARD.encode(vec![0x55; 8 * milliseconds]);
        self.hear(&format!(
            r#"{{"type":"response.output_audio.delta","response_id":"{response}","item_id":"{item}","content_index":0,"delta":"{delta}"}}"#
        ));
    }

    fn play(&mut self, milliseconds: usize) {
        self.playout.next(&mut vec![0; 8 * milliseconds]);
    }

    /// What is replied: items, and how much of them was heard.
    fn truncated(&mut self) -> Vec<(String, u64)> {
        let replies = self.agent.replies.drain(..);
        replies
            .map(|reply| match reply {
                Reply::Truncate(speech, heard) => (speech.item, heard),
                Reply::Output(..) => panic!("{reply:?}"),
            })
            .collect()
    }

    fn call(&mut self, name: &str, arguments: &str, status: &str) {
        let arguments = serde_json::Value::from(arguments);
        self.hear(&format!(
            r#"{{"type":"response.function_call_arguments.done","call_id":"c1","name":"{name}","arguments":{arguments}}}"#
        ));
        self.hear(&format!(
            r#"{{"type":"response.done","response":{{"status":"{status}"}}}}"#
        ));
    }
}

const STARTED: &str = r#"{"type":"input_audio_buffer.speech_started","audio_start_ms":1,"item_id":"u1"}"#;

#[test]
fn a_caller_who_interrupts_silences_the_model_which_is_told_how_much_was_heard() {
    let mut talk = Talk::new();
    talk.speak("r1", "i1", 1000);
    talk.speak("r1", "i1", 1000);
    talk.play(1500);
    talk.hear(STARTED);
    assert_eq!(talk.truncated(), [("i1".to_owned(), 1500)]);
    assert_eq!(talk.playout.queued(), 0);
    // What was on its way of that response is not heard; the next is, and counts for itself.
    talk.speak("r1", "i1", 500);
    assert_eq!(talk.playout.queued(), 0);
    talk.speak("r2", "i2", 400);
    talk.speak("r2", "i3", 600);
    talk.play(100);
    talk.hear(STARTED);
    assert_eq!(talk.truncated(), [("i2".to_owned(), 100), ("i3".to_owned(), 0)]);
}

#[test]
fn what_was_heard_to_its_end_is_not_cut_short() {
    let mut talk = Talk::new();
    talk.speak("r1", "i1", 300);
    talk.play(300);
    talk.hear(STARTED);
    assert_eq!(talk.truncated(), []);
    // Silence between what is said does not count.
    talk.play(5000);
    talk.speak("r2", "i2", 300);
    talk.play(200);
    talk.hear(STARTED);
    assert_eq!(talk.truncated(), [("i2".to_owned(), 200)]);
}

#[test]
fn functions_that_are_called_hang_up_and_transfer_when_what_was_said_is_played() {
    let mut talk = Talk::new();
    talk.call(HANG_UP, "{}", "completed");
    assert_eq!(talk.wishes.end, End::WhenPlayed);

    let mut talk = Talk::new();
    talk.call(TRANSFER, r#"{"to":"+15550100"}"#, "completed");
    assert_eq!(
        talk.wishes.transfer.as_ref().map(|wish| wish.to.as_str()),
        Some("+15550100")
    );
    assert_eq!(talk.wishes.transfer_when, When::Played);

    // The caller interrupted: it was not meant to the end.
    let mut talk = Talk::new();
    talk.call(HANG_UP, "{}", "cancelled");
    assert_eq!(talk.wishes.end, End::Unasked);
    // What makes no sense is answered.
    talk.call(TRANSFER, r#"{"number":1}"#, "completed");
    talk.call("dance", "{}", "completed");
    assert_eq!(talk.wishes.transfer, None);
    let outputs = talk.agent.replies.iter().map(|reply| match reply {
        Reply::Output(call_id, output) => (call_id.as_str(), output.contains("failed")),
        Reply::Truncate(..) => panic!("{reply:?}"),
    });
    assert_eq!(outputs.collect::<Vec<_>>(), [("c1", true), ("c1", true)]);
}

#[test]
fn a_session_that_cannot_be_as_asked_for_has_failed_and_later_errors_are_endured() {
    let error =
        r#"{"type":"error","error":{"type":"invalid_request_error","code":"invalid_value","message":"no such voice"}}"#;
    let mut talk = Talk::new();
    talk.hear(error);
    let failure = AgentFailure::Refused("no such voice (invalid_value)".into());
    assert_eq!(talk.wishes.failure, Some(failure));

    let mut talk = Talk::new();
    talk.hear(r#"{"type":"session.updated","session":{}}"#);
    talk.hear(error);
    assert_eq!(talk.wishes.failure, None);
}
