//! Which descriptor of which resident is ready.

use mio::Token;

use super::ports::Kind;
use super::relay::Side;

/// The worker's own doorbell: a command is waiting.
pub(super) const COMMAND: Token = Token(usize::MAX);

/// Tokens of AF_XDP sockets, below that.
const RECEIVERS: usize = 4096;

/// The token of an AF_XDP socket of the worker.
pub(super) fn receiver(place: usize) -> Token {
    Token(COMMAND.0 - 1 - place.min(RECEIVERS - 1))
}

/// The AF_XDP socket that a token stands for, if it is one's.
pub(super) fn receiver_of(token: Token) -> Option<usize> {
    (COMMAND.0 - 1).checked_sub(token.0).filter(|place| *place < RECEIVERS)
}

/// A descriptor of a resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A socket of a leg; an agent leg has side A only.
    Port(Side, Kind),
    /// The agent's connection.
    Agent,
}

impl Source {
    const ALL: [Self; 5] = [
        Self::Port(Side::A, Kind::Rtp),
        Self::Port(Side::A, Kind::Rtcp),
        Self::Port(Side::B, Kind::Rtp),
        Self::Port(Side::B, Kind::Rtcp),
        Self::Agent,
    ];

    /// The token of this descriptor of the resident `key`.
    pub(super) fn token(self, key: usize) -> Token {
        let place = match self {
            Self::Port(Side::A, Kind::Rtp) => 0,
            Self::Port(Side::A, Kind::Rtcp) => 1,
            Self::Port(Side::B, Kind::Rtp) => 2,
            Self::Port(Side::B, Kind::Rtcp) => 3,
            Self::Agent => 4,
        };
        Token(key * Self::ALL.len() + place)
    }

    /// The resident's key and the descriptor that a token stands for.
    pub(super) fn of(token: Token) -> (usize, Self) {
        let count = Self::ALL.len();
        (token.0 / count, Self::ALL[token.0 % count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_af_xdp_socket_has_a_token_of_its_own() {
        for place in [0, 1, 100] {
            assert_eq!(receiver_of(receiver(place)), Some(place));
            assert_ne!(receiver(place), COMMAND);
        }
        assert_eq!(receiver_of(COMMAND), None);
    }

    #[test]
    fn a_token_leads_back_to_its_descriptor() {
        for key in [0, 1, 4711] {
            for source in Source::ALL {
                assert_eq!(Source::of(source.token(key)), (key, source));
                assert_ne!(source.token(key), COMMAND);
                assert_eq!(receiver_of(source.token(key)), None);
            }
        }
    }
}
