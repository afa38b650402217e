//! The client's role: answers to challenges, and credentials that are sent before anybody asks (RFC 3261 section 22.3).
//!
//! What a realm has challenged with is kept for the trunk, and its nonce counted up by every request on that trunk, until
//! the realm challenges anew. An [`Attempt`] follows one request through its challenges, and ends in a loop never: each
//! realm gets one answer to a nonce, one more if it calls that nonce stale, and no other.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::challenge::Unusable;
use super::{Algorithm, Challenge, Challenger, Credentials, Login};

/// Most realms on the way of one request.
const MAX_REALMS: usize = 4;

/// Logins by the name of their trunk.
pub type Logins = HashMap<String, Login>;

/// One request and its repetitions with credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt(Vec<Shown>);

/// What was last shown to a realm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    challenger: Challenger,
    realm: String,
    nonce: String,
    why: Why,
}

/// Why it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Why {
    /// The nonce is of an earlier request.
    Kept,
    /// The realm has challenged this request.
    Asked,
    /// It has, and called the nonce before stale.
    Renewed,
}

/// Why a challenge is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no login.
    #[error("authentication is asked for, and the trunk has no username")]
    NoLogin,
    /// The credentials were not good.
    #[error("authentication failed: wrong username or password")]
    Rejected,
    /// The nonce was called stale twice running.
    #[error("authentication failed: every nonce is called stale")]
    Stale,
    /// No challenge is one we can answer.
    #[error("authentication is asked for in a way that is not ours: {0}")]
    Unusable(Unusable),
    /// The login is for another realm.
    #[error(
        "authentication is asked for in a realm that is not trunk.realm, or with an algorithm the trunk does not have"
    )]
    OtherRealm,
    /// There is no challenge.
    #[error("authentication is asked for without a challenge")]
    NoChallenge,
    /// More realms challenge than any way has.
    #[error("authentication is asked for by too many realms")]
    TooManyRealms,
}

impl Refused {
    /// A word for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoLogin => "no_login",
            Self::Rejected => "rejected",
            Self::Stale => "stale",
            Self::Unusable(_) => "unusable",
            Self::OtherRealm => "other_realm",
            Self::NoChallenge => "no_challenge",
            Self::TooManyRealms => "too_many_realms",
        }
    }
}

/// What a realm has challenged with, and how often that was used.
#[derive(Debug)]
struct Session {
    challenger: Challenger,
    challenge: Challenge,
    count: u32,
}

impl Session {
    fn is_of(&self, challenger: Challenger, realm: &str) -> bool {
        self.challenger == challenger && self.challenge.realm == realm
    }
}

/// The logins of all trunks, and what they are challenged with.
#[derive(Debug, Default)]
pub struct Client {
    logins: Logins,
    sessions: HashMap<String, Vec<Session>>,
    failures: BTreeMap<(String, &'static str), u64>,
}

impl Client {
    /// Logs in as these do.
    pub fn new(logins: Logins) -> Self {
        Self {
            logins,
            sessions: HashMap::new(),
            failures: BTreeMap::new(),
        }
    }

    /// Counts a request that was given up.
    pub fn note(&mut self, trunk: Option<&str>, refused: &Refused) {
        let key = (trunk.unwrap_or("").to_owned(), refused.word());
        *self.failures.entry(key).or_default() += 1;
    }

    /// How often requests were given up, by trunk and reason.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &'static str, u64)> {
        self.failures
            .iter()
            .map(|((trunk, reason), count)| (trunk.as_str(), *reason, *count))
    }

    /// Header lines for a request on a trunk: credentials for every realm that has challenged on it.
    pub fn credentials(
        &mut self,
        trunk: Option<&str>,
        attempt: &mut Attempt,
        method: &str,
        uri: &str,
        mut cnonce: impl FnMut() -> String,
    ) -> Vec<(String, String)> {
        let found = trunk.and_then(|trunk| Some((self.logins.get(trunk)?, self.sessions.get_mut(trunk)?)));
        let Some((login, sessions)) = found else {
            return Vec::new();
        };
        let written = sessions.iter_mut().filter_map(|session| {
            let credentials = answer(session, login, method, uri, cnonce())?;
            attempt.show(session);
            let header = session.challenger.credentials_header().to_owned();
            Some((header, credentials.write()))
        });
        written.collect()
    }

    /// The request was challenged. If it may be sent again, [`Self::credentials`] has the answers.
    ///
    /// # Errors
    /// Why it may not.
    pub fn challenged(
        &mut self,
        trunk: Option<&str>,
        attempt: &mut Attempt,
        headers: &[(Challenger, String)],
    ) -> Result<(), Refused> {
        let found = trunk.and_then(|trunk| Some((trunk, self.logins.get(trunk)?)));
        let (trunk, login) = found.ok_or(Refused::NoLogin)?;
        let chosen = choose(login, headers)?;
        let sessions = self.sessions.entry(trunk.to_owned()).or_default();
        for (challenger, challenge) in chosen {
            let judged = attempt.judge(challenger, &challenge);
            sessions.retain(|session| !session.is_of(challenger, &challenge.realm));
            judged?;
            if sessions.len() >= MAX_REALMS {
                sessions.remove(0);
            }
            sessions.push(Session {
                challenger,
                challenge,
                count: 0,
            });
        }
        Ok(())
    }
}

impl Attempt {
    /// Notes what the request carries.
    fn show(&mut self, session: &Session) {
        let nonce = &session.challenge.nonce;
        match self.of(session.challenger, &session.challenge.realm) {
            Some(shown) => shown.nonce.clone_from(nonce),
            None => self.0.push(Shown {
                challenger: session.challenger,
                realm: session.challenge.realm.clone(),
                nonce: nonce.clone(),
                why: Why::Kept,
            }),
        }
    }

    /// Whether a challenge to what the request has carried may be answered.
    fn judge(&mut self, challenger: Challenger, challenge: &Challenge) -> Result<(), Refused> {
        let realms = self.0.len();
        let Some(shown) = self.of(challenger, &challenge.realm) else {
            if realms >= MAX_REALMS {
                return Err(Refused::TooManyRealms);
            }
            self.0.push(Shown {
                challenger,
                realm: challenge.realm.clone(),
                nonce: challenge.nonce.clone(),
                why: Why::Asked,
            });
            return Ok(());
        };
        let why = match (shown.why, challenge.stale) {
            _ if shown.nonce == challenge.nonce => return Err(Refused::Rejected),
            (Why::Kept | Why::Asked, true) => Why::Renewed,
            // Some take a nonce once only, and do not say that it is stale.
            (Why::Kept, false) => Why::Asked,
            (Why::Renewed, true) => return Err(Refused::Stale),
            (Why::Asked | Why::Renewed, false) => return Err(Refused::Rejected),
        };
        shown.why = why;
        shown.nonce.clone_from(&challenge.nonce);
        Ok(())
    }

    fn of(&mut self, challenger: Challenger, realm: &str) -> Option<&mut Shown> {
        self.0
            .iter_mut()
            .find(|shown| shown.challenger == challenger && shown.realm == realm)
    }
}

/// Of each realm's challenges the one with the strongest algorithm that the login has.
fn choose(login: &Login, headers: &[(Challenger, String)]) -> Result<Vec<(Challenger, Challenge)>, Refused> {
    let mut why = Refused::NoChallenge;
    let mut chosen: Vec<(Challenger, Challenge)> = Vec::new();
    for (challenger, text) in headers {
        let challenge = match Challenge::parse(text) {
            Ok(challenge) => challenge,
            Err(unusable) => {
                why = Refused::Unusable(unusable);
                continue;
            }
        };
        if login.ha1(challenge.algorithm, &challenge.realm).is_none() {
            why = Refused::OtherRealm;
            continue;
        }
        let of_realm =
            |(known, other): &&mut (Challenger, Challenge)| known == challenger && other.realm == challenge.realm;
        match chosen.iter_mut().find(of_realm) {
            Some((_, weaker)) if weaker.algorithm < challenge.algorithm => *weaker = challenge,
            Some(_) => {}
            None => chosen.push((*challenger, challenge)),
        }
    }
    if chosen.is_empty() { Err(why) } else { Ok(chosen) }
}

fn answer(session: &mut Session, login: &Login, method: &str, uri: &str, cnonce: String) -> Option<Credentials> {
    let challenge = &session.challenge;
    let algorithm: Algorithm = challenge.algorithm;
    let ha1 = login.ha1(algorithm, &challenge.realm)?;
    let quality = challenge.counted.then(|| {
        session.count = session.count.saturating_add(1);
        (format!("{:08x}", session.count), cnonce)
    });
    let hashed = quality
        .as_ref()
        .map(|(count, cnonce)| (count.as_str(), cnonce.as_str()));
    let response = algorithm.response(&ha1, &challenge.nonce, hashed, method, uri);
    Some(Credentials {
        username: login.username.clone(),
        realm: challenge.realm.clone(),
        nonce: challenge.nonce.clone(),
        uri: uri.to_owned(),
        response,
        algorithm,
        quality,
        opaque: challenge.opaque.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Proof, Secret};
    use super::*;

    fn client() -> Client {
        let login = Login {
            username: "ann".into(),
            realm: None,
            proof: Proof::Password(Secret::new("x".into()), Algorithm::ALL.to_vec()),
        };
        Client::new(Logins::from([("t".to_owned(), login)]))
    }

    fn proxy(text: &str) -> (Challenger, String) {
        (Challenger::Proxy, format!("Digest {text}"))
    }

    fn sent(client: &mut Client, attempt: &mut Attempt) -> Vec<Credentials> {
        let headers = client.credentials(Some("t"), attempt, "INVITE", "sip:a", || "c".into());
        headers
            .iter()
            .map(|(_, value)| Credentials::parse(value).unwrap())
            .collect()
    }

    #[test]
    fn the_strongest_algorithm_of_each_realm_is_taken() {
        let (mut client, mut attempt) = (client(), Attempt::default());
        let challenges = [
            proxy("realm=\"a\", nonce=\"1\", qop=\"auth\""),
            proxy("realm=\"a\", nonce=\"2\", qop=\"auth\", algorithm=SHA-512-256"),
            proxy("realm=\"a\", nonce=\"3\", qop=\"auth\", algorithm=SHA-256"),
            proxy("realm=\"a\", nonce=\"4\", algorithm=AKAv1-MD5"),
            (Challenger::Server, "Digest realm=\"b\", nonce=\"5\"".into()),
        ];
        client.challenged(Some("t"), &mut attempt, &challenges).unwrap();
        let sent = sent(&mut client, &mut attempt);
        let seen: Vec<(&str, &str, Algorithm)> = sent
            .iter()
            .map(|one| (one.realm.as_str(), one.nonce.as_str(), one.algorithm))
            .collect();
        assert_eq!(seen, [("a", "2", Algorithm::Sha512_256), ("b", "5", Algorithm::Md5)]);
        assert_eq!((sent[0].count(), sent[1].count()), (Some(1), None));
    }

    #[test]
    fn a_nonce_is_counted_up_by_later_requests() {
        let mut client = client();
        let mut first = Attempt::default();
        client
            .challenged(
                Some("t"),
                &mut first,
                &[proxy("realm=\"a\", nonce=\"1\", qop=\"auth\"")],
            )
            .unwrap();
        assert_eq!(sent(&mut client, &mut first)[0].count(), Some(1));
        assert_eq!(sent(&mut client, &mut Attempt::default())[0].count(), Some(2));
        assert_eq!(
            client.credentials(Some("other"), &mut first, "BYE", "sip:a", String::new),
            []
        );
        assert_eq!(client.credentials(None, &mut first, "BYE", "sip:a", String::new), []);
    }

    /// What becomes of a request that gets these challenges, one a time: nonce, and whether it is called stale.
    fn fate(client: &mut Client, challenges: &[(&str, bool)]) -> Result<(), Refused> {
        let mut attempt = Attempt::default();
        for (nonce, stale) in challenges {
            sent(client, &mut attempt);
            let text = format!("realm=\"a\", nonce=\"{nonce}\", qop=\"auth\", stale={stale}");
            client.challenged(Some("t"), &mut attempt, &[proxy(&text)])?;
        }
        Ok(())
    }

    #[test]
    fn a_challenge_is_answered_once_and_a_stale_nonce_renewed_once() {
        assert_eq!(fate(&mut client(), &[("1", false)]), Ok(()));
        assert_eq!(
            fate(&mut client(), &[("1", false), ("2", false)]),
            Err(Refused::Rejected)
        );
        assert_eq!(
            fate(&mut client(), &[("1", false), ("1", true)]),
            Err(Refused::Rejected)
        );
        assert_eq!(fate(&mut client(), &[("1", false), ("2", true)]), Ok(()));
        let again = [("1", false), ("2", true), ("3", true)];
        assert_eq!(fate(&mut client(), &again), Err(Refused::Stale));
        let wrong = [("1", false), ("2", true), ("3", false)];
        assert_eq!(fate(&mut client(), &wrong), Err(Refused::Rejected));
    }

    #[test]
    fn a_nonce_of_an_earlier_request_may_be_refused_once() {
        for stale in [false, true] {
            let mut client = client();
            fate(&mut client, &[("1", false)]).unwrap();
            assert_eq!(fate(&mut client, &[("2", stale)]), Ok(()));
            assert_eq!(fate(&mut client, &[("3", stale), ("4", false)]), Err(Refused::Rejected));
            // What was refused is not shown again.
            assert_eq!(sent(&mut client, &mut Attempt::default()), []);
        }
    }

    #[test]
    fn why_there_is_no_answer() {
        let mut client = client();
        let mut refused = |headers: &[(Challenger, String)]| {
            client
                .challenged(Some("t"), &mut Attempt::default(), headers)
                .unwrap_err()
        };
        assert_eq!(refused(&[]), Refused::NoChallenge);
        let unknown = refused(&[proxy("realm=\"a\", nonce=\"1\", algorithm=MD5-sess")]);
        assert_eq!(unknown, Refused::Unusable(Unusable::Algorithm));
        let attempt = &mut Attempt::default();
        assert_eq!(client.challenged(None, attempt, &[]), Err(Refused::NoLogin));
        let many = (0..9).map(|realm| proxy(&format!("realm=\"{realm}\", nonce=\"1\"")));
        let many: Vec<_> = many.collect();
        assert_eq!(
            client.challenged(Some("t"), attempt, &many),
            Err(Refused::TooManyRealms)
        );
        let mut elsewhere = Client::new(Logins::from([(
            "t".to_owned(),
            Login {
                username: "ann".into(),
                realm: Some("b".into()),
                proof: Proof::Ha1(Vec::new()),
            },
        )]));
        let other = elsewhere.challenged(Some("t"), attempt, &[proxy("realm=\"a\", nonce=\"1\"")]);
        assert_eq!(other, Err(Refused::OtherRealm));
    }
}
