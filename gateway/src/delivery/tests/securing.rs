//! TLS, AUTH and the PROXY header.

use super::backend::Script;
use super::*;
use postern_config::Credential;
use postern_config::backend::ProxyVersion;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

const A: &str = "a@acme.test";

/// A self-signed certificate for `name`: the server's configuration, and the certificate as PEM.
fn certificate(name: &str) -> (Arc<rustls::ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let pem = made.cert.pem();
    let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (Arc::new(config), pem)
}

fn starttls(config: &Arc<rustls::ServerConfig>) -> Script {
    Script {
        extensions: vec!["PIPELINING", "STARTTLS", "AUTH PLAIN"],
        starttls: Some(config.clone()),
        ..Script::default()
    }
}

fn with_tls(backend: &Scripted, mode: BackendTlsMode, ca_pem: &str) -> Compiled {
    let mut compiled = compiled(backend.address, BackendProtocol::Smtp);
    compiled.tls = BackendTls {
        mode,
        ca_pem: if ca_pem.is_empty() {
            vec![]
        } else {
            vec![ca_pem.to_owned()]
        },
        server_name: Some("store.acme.test".to_owned()),
    };
    compiled
}

#[tokio::test]
async fn disabled_never_says_starttls() {
    let (config, _) = certificate("store.acme.test");
    let backend = Scripted::start(starttls(&config)).await;
    let outcome = World::smtp(&backend).deliver_to(&[A]).await;
    assert_eq!(
        (reply(&outcome).as_str(), outcome.record.tls),
        ("250", None)
    );
}

#[tokio::test]
async fn opportunistic_takes_any_certificate_and_goes_in_clear_where_nothing_is_offered() {
    let (config, _) = certificate("somebody.else.test");
    let backend = Scripted::start(starttls(&config)).await;
    let compiled = with_tls(&backend, BackendTlsMode::Opportunistic, "");
    let outcome = World::of(compiled).deliver_to(&[A]).await;
    assert_eq!(reply(&outcome), "250");
    let tls = outcome.record.tls.unwrap();
    assert_eq!((tls.version, tls.verified), ("1.3", false));
    assert_eq!(
        backend.heard("EHLO").len(),
        2,
        "the backend is greeted anew after TLS"
    );

    let backend = Scripted::start(Script::default()).await;
    let compiled = with_tls(&backend, BackendTlsMode::Opportunistic, "");
    let outcome = World::of(compiled).deliver_to(&[A]).await;
    assert_eq!(
        (reply(&outcome).as_str(), outcome.record.tls),
        ("250", None)
    );
}

#[tokio::test]
async fn opportunistic_goes_in_clear_when_the_handshake_fails() {
    // It offers STARTTLS and then goes on in clear.
    let extensions = vec!["PIPELINING", "STARTTLS"];
    let script = Script {
        extensions,
        ..Script::default()
    }
    .says("STARTTLS", "220 ok\n250 no TLS");
    let backend = Scripted::start(script).await;
    let compiled = with_tls(&backend, BackendTlsMode::Opportunistic, "");
    let outcome = World::of(compiled).deliver_to(&[A]).await;
    // Octets before the handshake were injected: that is no failed handshake.
    assert_eq!(reply(&outcome), "451 4.5.0");

    let script = Script {
        extensions: vec!["STARTTLS"],
        ..Script::default()
    }
    .when(
        "STARTTLS",
        super::backend::Act::SayAndClose("220 ok".to_owned()),
    );
    let backend = Scripted::start(script).await;
    let compiled = with_tls(&backend, BackendTlsMode::Opportunistic, "");
    let outcome = World::of(compiled).deliver_to(&[A]).await;
    assert_eq!(
        (reply(&outcome).as_str(), backend.connections()),
        ("250", 2)
    );
}

#[tokio::test]
async fn required_is_verified_or_451() {
    let (config, pem) = certificate("store.acme.test");
    let (_, other_pem) = certificate("store.acme.test");
    let (wrong_name, wrong_pem) = certificate("other.acme.test");
    for (config, ca, wanted) in [
        (&config, &pem, "250"),
        (&config, &other_pem, "451 4.7.5"),
        (&wrong_name, &wrong_pem, "451 4.7.5"),
    ] {
        let backend = Scripted::start(starttls(config)).await;
        let compiled = with_tls(&backend, BackendTlsMode::Required, ca);
        let outcome = World::of(compiled).deliver_to(&[A]).await;
        assert_eq!(reply(&outcome), wanted);
        assert_eq!(backend.messages().len(), usize::from(wanted == "250"));
        if wanted == "250" {
            assert!(outcome.record.tls.unwrap().verified);
        }
    }
    let backend = Scripted::start(Script::default()).await;
    let compiled = with_tls(&backend, BackendTlsMode::Required, &pem);
    let mut world = World::of(compiled);
    assert_eq!(
        reply(&world.deliver_to(&[A]).await),
        "451 4.3.5",
        "STARTTLS is not offered"
    );
    assert_eq!(world.misconfigured().unwrap().code, "no STARTTLS");
}

#[tokio::test]
async fn implicit_tls_begins_with_the_first_octet() {
    let (config, pem) = certificate("store.acme.test");
    let script = Script {
        implicit: Some(config),
        ..Script::default()
    };
    let backend = Scripted::start(script).await;
    let mut world = World::of(with_tls(&backend, BackendTlsMode::Implicit, &pem));
    for _ in 0..3 {
        assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    }
    assert_eq!(
        backend.connections(),
        1,
        "TLS connections are used again too"
    );
    let text = format!("Subject: x\r\n\r\n{}", ".a\r\n".repeat(100_000));
    assert_eq!(reply(&world.deliver(&message_of(&[A], &text)).await), "250");
    assert!(backend.messages()[3].ends_with(&text));
}

fn with_login(compiled: Compiled) -> Snapshot {
    let compiled = Compiled {
        credential: Some("relay".to_owned()),
        ..compiled
    };
    let mut snapshot = snapshot([("b", compiled)]);
    let login = Credential {
        username: "relay".to_owned(),
        password: "secret".to_owned(),
    };
    snapshot.keys.credentials.insert("relay".to_owned(), login);
    snapshot
}

fn world_of(snapshot: &Snapshot) -> World {
    let deliveries = Deliveries::new(limits());
    let backends = deliveries.apply(snapshot, Arc::new(NoNames)).unwrap();
    let leg = session(&deliveries);
    World {
        deliveries,
        backends,
        leg,
        progress: Progress::default(),
    }
}

#[tokio::test]
async fn a_ca_that_cannot_be_used_defers_the_mail_of_its_backend_only() {
    let backend = Scripted::start(Script::default()).await;
    let bad = with_tls(&backend, BackendTlsMode::Required, "x");
    let good = compiled(backend.address, BackendProtocol::Smtp);
    let snapshot = snapshot([("b", bad), ("good", good)]);
    let mut world = world_of(&snapshot);
    assert_eq!(world.ask(&[A]).await, ["451 4.3.5"]);
    assert_eq!(reply(&world.deliver_to(&[A]).await), "451 4.3.5");
    assert_eq!(
        world.misconfigured().unwrap().code,
        "ca.crt holds no certificate"
    );
    assert_eq!(world.deliveries.misconfigured().len(), 1);
    assert_eq!(backend.connections(), 0);
    let rule = rule(&[("good", 1)]);
    let other = Choices::default()
        .destination(&world.backends, (0, 1), &rule, &mailbox(A))
        .unwrap();
    let (ask, deadline) = (VerifyRecipients::Ask, world.leg.ask_deadline());
    let asked = world
        .leg
        .ask(&other, &envelope(), &[mailbox(A)], ask, deadline)
        .await;
    assert_eq!(asked.answers, [Ok(())]);
}

#[tokio::test]
async fn the_login_is_plain_over_verified_tls_only() {
    let (config, pem) = certificate("store.acme.test");
    let backend = Scripted::start(starttls(&config)).await;
    let snapshot = with_login(with_tls(&backend, BackendTlsMode::Required, &pem));
    assert_eq!(reply(&world_of(&snapshot).deliver_to(&[A]).await), "250");
    assert_eq!(backend.heard("AUTH"), ["AUTH PLAIN AHJlbGF5AHNlY3JldA=="]);

    for mode in [BackendTlsMode::Disabled, BackendTlsMode::Opportunistic] {
        let backend = Scripted::start(starttls(&config)).await;
        let mut world = world_of(&with_login(with_tls(&backend, mode, "")));
        assert_eq!(reply(&world.deliver_to(&[A]).await), "451 4.3.5");
        assert_eq!(
            world.misconfigured().unwrap().code,
            "AUTH without verified TLS"
        );
        assert_eq!(backend.heard("AUTH").len(), 0);
    }
}

#[tokio::test]
async fn a_login_that_is_refused_is_our_misconfiguration() {
    let (config, pem) = certificate("store.acme.test");
    let backend = Scripted::start(starttls(&config).says("AUTH", "535 5.7.8 no")).await;
    let snapshot = with_login(with_tls(&backend, BackendTlsMode::Required, &pem));
    let mut world = world_of(&snapshot);
    assert_eq!(world.ask(&[A]).await, ["451 4.3.5"]);
    assert_eq!(world.misconfigured().unwrap().code, "535 5.7.8");
}

#[tokio::test]
async fn with_a_proxy_header_a_connection_belongs_to_one_session() {
    let backend = Scripted::start(Script {
        proxy: true,
        ..Script::default()
    })
    .await;
    let mut compiled = compiled(backend.address, BackendProtocol::Smtp);
    compiled.proxy_protocol = Some(ProxyVersion::V1);
    let mut world = World::of(compiled);
    for _ in 0..3 {
        assert_eq!(world.ask(&[A]).await, ["ok"]);
        assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    }
    let header = "PROXY TCP4 192.0.2.1 198.51.100.2 4321 25";
    assert_eq!(
        backend.heard("PROXY"),
        [header, header],
        "one to ask, one to deliver"
    );
    let client = "192.0.2.9:1".parse().unwrap();
    world.leg = world
        .deliveries
        .leg(client, "198.51.100.2:25".parse().unwrap());
    backend.hears("QUIT", 2).await;
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    assert_eq!(
        backend.heard("PROXY")[2],
        "PROXY TCP4 192.0.2.9 198.51.100.2 1 25"
    );
    assert_eq!(world.deliveries.counters().idle_connections, 0);
    assert_eq!(backend.heard("RCPT TO:<a").len(), 5);
    assert_eq!(
        world.ask(&[A]).await,
        ["ok"],
        "another client is another question"
    );
    assert_eq!(backend.heard("RCPT TO:<a").len(), 6);
}
