//! Packets that others have published.

use super::super::derive::SessionKeys;
use super::super::packet::Layout;
use super::super::transform::Transform;
use super::*;

/// Those with which libsrtp tests itself (srtp_driver.c), whose keys are of RFC 3711 appendix B.3 and RFC 6188 section 7.2.
#[test]
fn packets_of_counter_mode() {
    let plain_rtp = "800f1234decafbadcafebabe abababababababababababababababab";
    let plain_rtcp = "81c8000bcafebabe abababababababababababababababab";
    let key = "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6";
    let long_key = "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2";
    let vectors = [
        (
            Suite::AesCm128HmacSha1Tag80,
            key,
            Kind::Rtp,
            plain_rtp,
            "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb",
        ),
        (
            Suite::AesCm128HmacSha1Tag32,
            key,
            Kind::Rtp,
            plain_rtp,
            "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc",
        ),
        (
            Suite::AesCm128HmacSha1Tag80,
            key,
            Kind::Rtcp,
            plain_rtcp,
            "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798",
        ),
        (
            Suite::AesCm128HmacSha1Tag32,
            key,
            Kind::Rtcp,
            plain_rtcp,
            "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798",
        ),
        (
            Suite::Aes256CmHmacSha1Tag80,
            long_key,
            Kind::Rtp,
            plain_rtp,
            "800f1234decafbadcafebabe f1d9de17ff251ff1aa007774b0b4b40d a08d9d9a5b3a55d8873b",
        ),
    ];
    for (suite, key, kind, plain, protected) in vectors {
        let keying = Keying::from_bytes(suite, &hex(key), None).unwrap();
        let (mut outbound, mut inbound) = pair(&keying);
        let got = protect(&mut outbound, kind, &hex(plain)).unwrap();
        assert_eq!(got, hex(protected), "{suite} {kind:?}");
        assert_eq!(unprotect(&mut inbound, kind, &got), Ok(hex(plain)));
    }
}

/// RFC 7714 sections 16.1.1, 16.2.1, 17.1 and 17.2, which give the keys of the session.
#[test]
fn packets_of_galois_counter_mode() {
    let plain_rtp =
        "8040f17b8041f8d35501a0b2 47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
    let plain_rtcp =
        "81c8000d4d617273 4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
    let index = 0x5d4;
    let vectors = [
        (
            Suite::AeadAes128Gcm,
            Kind::Rtp,
            plain_rtp,
            "8040f17b8041f8d35501a0b2 f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833
             899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            Suite::AeadAes256Gcm,
            Kind::Rtp,
            plain_rtp,
            "8040f17b8041f8d35501a0b2 32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
        (
            Suite::AeadAes128Gcm,
            Kind::Rtcp,
            plain_rtcp,
            "81c8000d4d617273 63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b
             c84aa45896cf4d2fc5abf87245d9eade 800005d4",
        ),
        (
            Suite::AeadAes256Gcm,
            Kind::Rtcp,
            plain_rtcp,
            "81c8000d4d617273 d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad
             1d1eb30c4446839f57ff6f6cb26ac3be 800005d4",
        ),
    ];
    for (suite, kind, plain, protected) in vectors {
        let keys = SessionKeys::given(
            &(0..suite.key_len() as u8).collect::<Vec<u8>>(),
            &[0; 20],
            &hex("517569642070726f2071756f"),
        );
        let transform = Transform::of_session(suite, kind, &keys, None).unwrap();
        let plain = hex(plain);
        let layout = Layout::of(kind, &plain).unwrap();
        let index = match kind {
            Kind::Rtp => layout.sequence.into(),
            Kind::Rtcp => index,
        };
        let mut buffer = plain.clone();
        buffer.resize(plain.len() + MAX_OVERHEAD, 0);
        let length = transform.protect(&mut buffer, plain.len(), layout, index).unwrap();
        assert_eq!(buffer[..length], hex(protected), "{suite} {kind:?}");
        let sealed = transform.sealed(&buffer[..length]).unwrap();
        let length = transform.unprotect(&mut buffer[..length], sealed, index).unwrap();
        assert_eq!(buffer[..length], plain);
    }
}
