//! The crypto suites.

use serde::{Deserialize, Serialize};

/// A crypto suite: cipher, tag and their lengths under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Suite {
    /// RFC 7714 section 14.2.
    #[serde(rename = "AEAD_AES_256_GCM")]
    AeadAes256Gcm,
    /// RFC 7714 section 14.2.
    #[serde(rename = "AEAD_AES_128_GCM")]
    AeadAes128Gcm,
    /// RFC 6188 section 6.
    #[serde(rename = "AES_256_CM_HMAC_SHA1_80")]
    Aes256CmHmacSha1Tag80,
    /// RFC 4568 section 6.2.1: the one that every implementation has.
    #[serde(rename = "AES_CM_128_HMAC_SHA1_80")]
    AesCm128HmacSha1Tag80,
    /// RFC 4568 section 6.2.2. SRTCP has tags of 80 bits here, too.
    #[serde(rename = "AES_CM_128_HMAC_SHA1_32")]
    AesCm128HmacSha1Tag32,
}

impl Suite {
    /// Every suite, the strongest first.
    pub const ALL: [Self; 5] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::Aes256CmHmacSha1Tag80,
        Self::AesCm128HmacSha1Tag80,
        Self::AesCm128HmacSha1Tag32,
    ];

    /// Its name in SDP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::Aes256CmHmacSha1Tag80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm128HmacSha1Tag80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1Tag32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Length of the master key, bytes; the cipher's key is as long.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::Aes256CmHmacSha1Tag80 => 32,
            Self::AeadAes128Gcm | Self::AesCm128HmacSha1Tag80 | Self::AesCm128HmacSha1Tag32 => 16,
        }
    }

    /// Length of the master salt, bytes.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => 12,
            Self::Aes256CmHmacSha1Tag80 | Self::AesCm128HmacSha1Tag80 | Self::AesCm128HmacSha1Tag32 => 14,
        }
    }
}

impl std::fmt::Display for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
