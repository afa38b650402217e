//! Who somebody is, and what proves it.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Algorithm;

/// A text that is not to be seen: never in logs or reports, and gone from memory when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

impl Eq for Secret {}

/// Whether two texts are the same, found out in a time that depends on their length only.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// A username and what proves it: ours with a carrier, or a carrier's with us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Username.
    pub username: String,
    /// The only realm it is good for; `None`: any.
    pub realm: Option<String>,
    /// What proves it.
    pub proof: Proof,
}

/// What proves a username.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its password, to be used with these algorithms, the most preferred first.
    Password(Secret, Vec<Algorithm>),
    /// Hashes of username, realm and password (`HA1`), in hexadecimal, one an algorithm.
    Ha1(Vec<(Algorithm, Secret)>),
}

impl Login {
    /// The algorithms it can be used with, the most preferred first.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        match &self.proof {
            Proof::Password(_, algorithms) => algorithms.clone(),
            Proof::Ha1(hashes) => hashes.iter().map(|(algorithm, _)| *algorithm).collect(),
        }
    }

    /// Whether it may be used in this realm.
    pub fn fits(&self, realm: &str) -> bool {
        self.realm.as_deref().is_none_or(|own| own == realm)
    }

    /// The hash of username, realm and password; `None` if the login cannot be used with this realm or algorithm.
    pub fn ha1(&self, algorithm: Algorithm, realm: &str) -> Option<Zeroizing<String>> {
        if !self.fits(realm) {
            return None;
        }
        match &self.proof {
            Proof::Password(password, algorithms) => algorithms
                .contains(&algorithm)
                .then(|| Zeroizing::new(algorithm.hash(&[&self.username, realm, password.expose()]))),
            Proof::Ha1(hashes) => {
                let (_, hash) = hashes.iter().find(|(known, _)| *known == algorithm)?;
                Some(Zeroizing::new(hash.expose().to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sees_a_secret() {
        let login = Login {
            username: "ann".into(),
            realm: None,
            proof: Proof::Password(Secret::new("s3cret".into()), Algorithm::ALL.to_vec()),
        };
        let hashes = Login {
            proof: Proof::Ha1(vec![(Algorithm::Md5, Secret::new("s3cret".into()))]),
            ..login.clone()
        };
        for text in [format!("{login:?}"), format!("{login:#?}"), format!("{hashes:?}")] {
            assert!(text.contains("ann") && !text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn a_hash_proves_what_its_password_does() {
        let password = Login {
            username: "ann".into(),
            realm: Some("example".into()),
            proof: Proof::Password(Secret::new("x".into()), Algorithm::ALL.to_vec()),
        };
        for algorithm in Algorithm::ALL {
            let hash = password.ha1(algorithm, "example").unwrap();
            let hashed = Login {
                proof: Proof::Ha1(vec![(algorithm, Secret::new(hash.to_string()))]),
                ..password.clone()
            };
            assert_eq!(hashed.ha1(algorithm, "example"), Some(hash));
            assert_eq!(hashed.ha1(algorithm, "elsewhere"), None);
        }
        assert_eq!(password.ha1(Algorithm::Md5, "elsewhere"), None);
    }
}
