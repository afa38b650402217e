//! The same over TLS, with a certificate made for the test.

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;

/// A value of ASN.1, in DER.
fn der(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let mut value = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length) if length < 128 => value.push(length),
        Ok(length) => value.extend([0x81, length]),
        Err(_) => value.extend([&[0x82][..], &(content.len() as u16).to_be_bytes()].concat()),
    }
    value.extend(content);
    value
}

/// A certificate of `bot.example` that has signed itself (RFC 5280), and its key.
fn certificate() -> (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>) {
    const SEQUENCE: u8 = 0x30;
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
    let bits = |bytes: &[u8]| der(0x03, &[&[0], bytes]);
    let algorithm = der(SEQUENCE, &[&[0x06, 3, 0x2b, 0x65, 0x70]]);
    let common_name = der(SEQUENCE, &[&[0x06, 3, 0x55, 0x04, 0x03], &der(0x0c, &[b"bot.example"])]);
    let name = der(SEQUENCE, &[&der(0x31, &[&common_name])]);
    let validity = der(
        SEQUENCE,
        &[&der(0x17, &[b"250101000000Z"]), &der(0x18, &[b"99991231235959Z"])],
    );
    let public_key = der(SEQUENCE, &[&algorithm, &bits(pair.public_key().as_ref())]);
    let alternative = der(0x04, &[&der(SEQUENCE, &[&der(0x82, &[b"bot.example"])])]);
    let extension = der(SEQUENCE, &[&[0x06, 3, 0x55, 0x1d, 0x11], &alternative]);
    let extensions = der(0xa3, &[&der(SEQUENCE, &[&extension])]);
    let version_and_serial: [u8; 8] = [0xa0, 3, 0x02, 1, 2, 0x02, 1, 1];
    let parts: [&[u8]; 7] = [
        &version_and_serial,
        &algorithm,
        &name,
        &validity,
        &name,
        &public_key,
        &extensions,
    ];
    let signed = der(SEQUENCE, &parts);
    let signature = bits(pair.sign(&signed).as_ref());
    let certificate = der(SEQUENCE, &[&signed, &algorithm, &signature]);
    (certificate.into(), key.as_ref().to_vec().into())
}

/// Both sides' settings: one trusts the other's certificate.
fn settings() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let (certificate, key) = certificate();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    (Arc::new(client), Arc::new(server))
}

#[test]
fn a_minute_of_speech_and_an_echo_come_over_tls() {
    let (client, server) = settings();
    let (listener, address) = listener();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let session = ServerConnection::new(server).unwrap();
        let mut socket = tungstenite::accept(StreamOwned::new(session, stream)).unwrap();
        let mut events = Vec::new();
        while let Ok(message) = socket.read() {
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            let payload = match message["event"].as_str().unwrap() {
                "start" => "//8A".repeat(60 * 8000 / 3),
                "media" => message["media"]["payload"].as_str().unwrap().to_owned(),
                _ => String::new(),
            };
            if !payload.is_empty() {
                let media = format!(r#"{{"event":"media","media":{{"payload":"{payload}"}}}}"#);
                socket.send(Message::Ping(vec![1, 2, 3].into())).unwrap();
                say(&mut socket, &media);
                say(&mut socket, r#"{"event":"mark","mark":{"name":"said"}}"#);
            }
            events.push(message["event"].as_str().unwrap().to_owned());
        }
        events
    });
    let mut call = Call::over_tls(address, client);
    assert_eq!(call.event(), AgentEvent::Ready);
    call.until("speech", |call| call.playout.queued() == 60 * 8000);
    let frames = 200;
    for number in 0..frames {
        call.web
            .on_audio(&[number as u8; 160], &mut call.playout, Duration::ZERO);
        call.step();
    }
    call.until("echo", |call| call.playout.queued() == 60 * 8000 + frames * 160);
    let mut frame = [0; 160];
    let mut played = Vec::new();
    while call.playout.next(&mut frame) {
        played.extend_from_slice(&frame);
        call.step();
    }
    let echo = &played[60 * 8000..];
    assert!(
        echo.chunks(160)
            .enumerate()
            .all(|(number, frame)| *frame == [number as u8; 160])
    );
    assert!(!call.web.stop(Duration::ZERO));
    call.until("end", |call| call.web.is_done());
    let events = thread.join().unwrap();
    let of = |kind: &str| events.iter().filter(|event| *event == kind).count();
    assert_eq!((of("media"), of("mark"), of("stop")), (frames, frames + 1, 1));
}

#[test]
fn a_certificate_nobody_vouches_for_is_no_agent() {
    let ((_, server), (stranger, _)) = (settings(), settings());
    let (listener, address) = listener();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let session = ServerConnection::new(server).unwrap();
        assert!(tungstenite::accept(StreamOwned::new(session, stream)).is_err());
    });
    let mut call = Call::over_tls(address, stranger);
    let event = call.event();
    let AgentEvent::Failed(AgentFailure::Connect(why)) = &event else {
        panic!("{event:?}")
    };
    assert!(why.contains("certificate"), "{why}");
    thread.join().unwrap();
}
