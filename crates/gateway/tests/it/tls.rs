//! MQTT over TLS.

use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::conformance::raw::{Hello, Plain, packet, text};
use crate::harness::SOON;

/// A server and a client that trusts it.
fn pair() -> (Arc<ServerConfig>, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), TlsConnector::from(Arc::new(client)))
}

pub fn server() -> Arc<ServerConfig> {
    pair().0
}

async fn hub() -> (Plain, TlsConnector) {
    let (server, connector) = pair();
    let hub = Plain::with(|config| {
        config.mqtts = Some(("127.0.0.1:0".parse().unwrap(), server));
        config.connect_timeout = std::time::Duration::from_millis(500);
    })
    .await;
    (hub, connector)
}

async fn open(hub: &Plain, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(hub.gateway.mqtts_addr().unwrap()).await.unwrap();
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

async fn expect(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    tokio::time::timeout(SOON, stream.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(read, bytes);
}

#[tokio::test]
async fn a_session_over_tls_is_like_any_other() {
    let (hub, connector) = hub().await;
    let mut stream = open(&hub, &connector).await;
    stream.write_all(&Hello { version: 4, ..Hello::default() }.bytes()).await.unwrap();
    expect(&mut stream, &[0x20, 2, 0, 0]).await;
    stream.write_all(&packet(0x82, &[vec![0, 1], text("t"), vec![0]].concat())).await.unwrap();
    expect(&mut stream, &[0x90, 3, 0, 1, 0]).await;
    // From a client in the clear, and more than one record holds.
    let mut plain = hub.client(5, "plain").await;
    let payload = "x".repeat(60_000);
    for _ in 0..10 {
        plain.tell("t", 1, &payload).await;
    }
    let expected = packet(0x30, &[text("t"), payload.into_bytes()].concat());
    for _ in 0..10 {
        expect(&mut stream, &expected).await;
    }
    // And up, in pieces that straddle records.
    plain.subscribe(&[("u", 0)]).await;
    let up = packet(0x32, &[text("u"), vec![0, 7], vec![b'y'; 50_000]].concat());
    for piece in up.chunks(7_001) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
    }
    expect(&mut stream, &[0x40, 2, 0, 7]).await;
    assert_eq!(plain.message().await.payload.len(), 50_000);
    stream.write_all(&[0xC0, 0]).await.unwrap();
    expect(&mut stream, &[0xD0, 0]).await;
    stream.write_all(&[0xE0, 0]).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn what_is_no_tls_or_stands_still_is_closed_and_no_other() {
    let (hub, connector) = hub().await;
    let mut good = open(&hub, &connector).await;
    good.write_all(&Hello { version: 4, ..Hello::default() }.bytes()).await.unwrap();
    expect(&mut good, &[0x20, 2, 0, 0]).await;
    let addr = hub.gateway.mqtts_addr().unwrap();
    let mut clear = TcpStream::connect(addr).await.unwrap();
    clear.write_all(&Hello::default().bytes()).await.unwrap();
    let mut silent = TcpStream::connect(addr).await.unwrap();
    let mut shaken = open(&hub, &connector).await;
    let mut answer = Vec::new();
    for stream in [&mut clear, &mut silent] {
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
    }
    // At most an alert; never MQTT.
    assert!(answer.first().is_none_or(|first| *first == 0x15), "{answer:?}");
    let _ = tokio::time::timeout(SOON, shaken.read_to_end(&mut answer)).await.unwrap();
    good.write_all(&[0xC0, 0]).await.unwrap();
    expect(&mut good, &[0xD0, 0]).await;
}

#[tokio::test]
async fn a_stopping_gateway_says_goodbye_over_tls() {
    let (hub, connector) = hub().await;
    let mut stream = open(&hub, &connector).await;
    stream.write_all(&Hello::default().bytes()).await.unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(first, [0x20]);
    let stopping = tokio::spawn(hub.gateway.stop());
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.ends_with(&[0xE0, 1, 0x8B]), "{rest:?}");
    drop(stream);
    stopping.await.unwrap();
}
