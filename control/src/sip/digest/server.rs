//! The server's role: which trunk a call comes from.
//!
//! An [`Entrance`] is what a trunk asks of who calls. Credentials that are good name the trunk; else the source address
//! does, where the trunk of the narrowest network that holds it asks for no more; else, if some trunk could be meant, the
//! caller is challenged: with one challenge an algorithm, the strongest first (RFC 8760 section 2.3). A challenge is
//! answered for without keeping anything (RFC 3261 section 8.2.7).
//!
//! Whether the username or the password was wrong cannot be told from the answer, nor from its time.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::login::same;
use super::nonce::{Bad, NonceKey, Nonces};
use super::{Algorithm, Challenge, Credentials, Login};
use crate::sip::syntax::Request;
use crate::time::Time;

/// What a trunk goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// The source address.
    #[default]
    Ip,
    /// Credentials, from anywhere.
    Digest,
    /// Both.
    All,
    /// Either.
    Any,
}

/// What a trunk asks of who calls.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// Name of the trunk.
    pub trunk: String,
    /// Networks that its calls come from.
    pub networks: Vec<IpNet>,
    /// What it goes by.
    pub auth: Auth,
    /// Who calls.
    pub login: Option<Login>,
}

impl Entrance {
    /// Length of the longest prefix that holds an address.
    fn narrowest(&self, source: IpAddr) -> Option<u8> {
        let holding = self.networks.iter().filter(|network| network.contains(&source));
        holding
            .map(|network| network.max_prefix_len() - network.prefix_len())
            .min()
    }

    /// The login that opens it to somebody at this address.
    fn login_for(&self, source: IpAddr) -> Option<&Login> {
        let asked = match self.auth {
            Auth::Ip => false,
            Auth::Digest | Auth::Any => true,
            Auth::All => self.narrowest(source).is_some(),
        };
        self.login.as_ref().filter(|_| asked)
    }
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may proceed, on this trunk; `None`: nobody is asked who he is.
    Admitted(Option<String>),
    /// 401 with these challenges.
    Challenged {
        /// Values of WWW-Authenticate, the most preferred first.
        challenges: Vec<String>,
        /// To tag of the answer: the same for the same request.
        tag: String,
    },
    /// 403: no trunk allows calls from there, whatever credentials there are.
    Refused {
        /// As of [`Self::Challenged`].
        tag: String,
    },
}

/// What is wrong with credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// They cannot be read, or are of an algorithm that was not offered.
    Malformed,
    /// No trunk has the username.
    UnknownUser,
    /// The response is not what the password gives.
    WrongPassword,
    /// The nonce is too old, or not ours.
    StaleNonce,
    /// The nonce has been used with this count.
    Replayed,
}

impl Failure {
    /// A word for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::StaleNonce => "stale_nonce",
            Self::Replayed => "replayed",
        }
    }
}

/// Who may call.
#[derive(Debug)]
pub struct Admission {
    /// Everybody is let in, on no trunk.
    open: bool,
    entrances: Vec<Entrance>,
    nonces: Nonces,
    failures: BTreeMap<(String, Failure), u64>,
}

/// A call that asks to be let in.
#[derive(Clone, Copy)]
struct Caller<'a> {
    now: Time,
    source: IpAddr,
    method: &'a str,
    /// Realm of trunks that have none of their own: the domain that is called.
    domain: &'a str,
}

impl Admission {
    /// Lets in whom these entrances let in; with none of them, nobody.
    pub fn new(key: NonceKey, entrances: Vec<Entrance>) -> Self {
        Self {
            open: false,
            entrances,
            nonces: Nonces::new(key),
            failures: BTreeMap::new(),
        }
    }

    /// Lets everybody in, on no trunk.
    pub fn open(key: NonceKey) -> Self {
        Self {
            open: true,
            ..Self::new(key, Vec::new())
        }
    }

    /// Decides about a call from this address. `salt` is random.
    pub fn admit(&mut self, now: Time, request: &Request, source: IpAddr, salt: u16) -> Verdict {
        if self.open {
            return Verdict::Admitted(None);
        }
        let domain = request.uri.host.to_ascii_lowercase();
        let caller = Caller {
            now,
            source: source.to_canonical(),
            method: &request.method_text,
            domain: &domain,
        };
        let mut stale = false;
        for text in &request.fields.authorizations {
            match self.check(caller, text) {
                Ok(trunk) => return Verdict::Admitted(Some(trunk)),
                Err((trunk, failure)) => {
                    tracing::debug!(%source, trunk, reason = failure.word(), "credentials are not good");
                    stale |= matches!(failure, Failure::StaleNonce | Failure::Replayed);
                    *self.failures.entry((trunk, failure)).or_default() += 1;
                }
            }
        }
        let by_source = self.trunk_of(source);
        if let Some(entrance) = by_source
            && matches!(entrance.auth, Auth::Ip | Auth::Any)
        {
            return Verdict::Admitted(Some(entrance.trunk.clone()));
        }
        let challenges = self.challenges(caller, salt, stale);
        let tag = self.tag_for(request);
        match challenges.is_empty() {
            true => Verdict::Refused { tag },
            false => Verdict::Challenged { challenges, tag },
        }
    }

    /// The To tag of an answer to a request of which nothing is kept: the same for the same request (RFC 3261 section
    /// 8.2.7).
    pub fn tag_for(&self, request: &Request) -> String {
        let branch = request.via.branch().unwrap_or("");
        let from = request.from.tag().unwrap_or("");
        self.nonces.key().name(&[branch, from, &request.call_id])
    }

    /// Whether no trunk's calls come from this address, as far as the address tells.
    pub fn is_stranger(&self, source: IpAddr) -> bool {
        !self.open && self.trunk_of(source).is_none()
    }

    /// The trunk whose networks hold this address: the narrowest network wins, then the first trunk.
    pub fn trunk_of(&self, source: IpAddr) -> Option<&Entrance> {
        let source = source.to_canonical();
        let holding = self
            .entrances
            .iter()
            .filter_map(|one| Some((one.narrowest(source)?, one)));
        holding.min_by_key(|(bits, _)| *bits).map(|(_, entrance)| entrance)
    }

    /// How often credentials were not good, by trunk (empty if none was meant) and reason.
    pub fn failures(&self) -> impl Iterator<Item = (&str, Failure, u64)> {
        self.failures
            .iter()
            .map(|((trunk, failure), count)| (trunk.as_str(), *failure, *count))
    }

    /// The trunk that credentials are good for.
    fn check(&mut self, caller: Caller<'_>, text: &str) -> Result<String, (String, Failure)> {
        let Some(credentials) = Credentials::parse(text) else {
            return Err((String::new(), Failure::Malformed));
        };
        let meant = self.entrances.iter().find_map(|entrance| {
            let login = entrance.login_for(caller.source)?;
            let realm = login.realm.as_deref().unwrap_or(caller.domain);
            (login.username == credentials.username && realm == credentials.realm).then_some((entrance, login))
        });
        let algorithm = credentials.algorithm;
        let (trunk, ha1) = match meant {
            Some((entrance, login)) => (Some(entrance.trunk.clone()), login.ha1(algorithm, &credentials.realm)),
            None => (None, None),
        };
        // An unknown user costs the time of a known one.
        let nobody = || algorithm.hash(&[&credentials.username, &credentials.realm, ""]).into();
        let known = ha1.is_some();
        let proof = prove(&credentials, &ha1.unwrap_or_else(nobody), caller.method);
        let good = same(&proof, &credentials.response);
        match (trunk, known) {
            (None, _) => Err((String::new(), Failure::UnknownUser)),
            (Some(trunk), false) => Err((trunk, Failure::Malformed)),
            (Some(trunk), true) if !good => Err((trunk, Failure::WrongPassword)),
            (Some(trunk), true) => self
                .take(caller, &credentials)
                .map(|()| trunk.clone())
                .map_err(|bad| match bad {
                    Bad::Stale => (trunk, Failure::StaleNonce),
                    Bad::Replayed => (trunk, Failure::Replayed),
                }),
        }
    }

    fn take(&mut self, caller: Caller<'_>, credentials: &Credentials) -> Result<(), Bad> {
        self.nonces.take(
            caller.now,
            &credentials.nonce,
            &credentials.realm,
            caller.source,
            credentials.count(),
        )
    }

    /// What somebody is challenged with: for each realm that could let him in, the algorithms of its trunks.
    fn challenges(&self, caller: Caller<'_>, salt: u16, stale: bool) -> Vec<String> {
        let mut realms: Vec<(&str, Vec<Algorithm>)> = Vec::new();
        for login in self.entrances.iter().filter_map(|one| one.login_for(caller.source)) {
            let realm = login.realm.as_deref().unwrap_or(caller.domain);
            let at = match realms.iter().position(|(known, _)| *known == realm) {
                Some(at) => at,
                None => {
                    realms.push((realm, Vec::new()));
                    realms.len() - 1
                }
            };
            realms[at].1.extend(login.algorithms());
        }
        let mut challenges = Vec::new();
        for (realm, mut algorithms) in realms {
            algorithms.sort_unstable_by(|a, b| b.cmp(a));
            algorithms.dedup();
            let nonce = self.nonces.issue(caller.now, salt, realm, caller.source);
            challenges.extend(algorithms.into_iter().map(|algorithm| {
                let challenge = Challenge {
                    realm: realm.to_owned(),
                    nonce: nonce.clone(),
                    opaque: None,
                    algorithm,
                    counted: true,
                    stale,
                };
                challenge.write()
            }));
        }
        challenges
    }
}

/// What the response must be.
fn prove(credentials: &Credentials, ha1: &str, method: &str) -> String {
    let quality = credentials.quality.as_ref();
    let quality = quality.map(|(count, cnonce)| (count.as_str(), cnonce.as_str()));
    credentials
        .algorithm
        .response(ha1, &credentials.nonce, quality, method, &credentials.uri)
}
