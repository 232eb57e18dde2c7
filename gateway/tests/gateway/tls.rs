//! TLS: STARTTLS, from the first octet, SNI, versions, and certificates that change.

use crate::client::Client;
use crate::world::{World, certificate, with_tls};
use postern_config::listener::{TlsMode, TlsVersion};
use rustls::version::{TLS12, TLS13};

#[tokio::test(flavor = "multi_thread")]
async fn starttls_and_the_session_begins_anew() {
    let (pair, root) = certificate(&["mx.acme.test"]);
    let world =
        World::new(|snapshot| with_tls(snapshot, TlsMode::Opportunistic, &[("a", &pair)])).await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    let mut client = client.starttls(&root, "mx.acme.test").await;
    client.talk("MAIL FROM:<ann@shop.test>", "503 ").await;
    let offers = client.talk("EHLO client.test", "250 ").await;
    assert!(!offers.contains("STARTTLS"), "{offers}");
    let reply = client
        .mail(
            "ann@shop.test",
            "bob@acme.test",
            "From: a@shop.test\r\n\r\nx",
        )
        .await;
    assert!(reply.starts_with("250 "), "{reply}");
    assert!(world.backend.mails()[0].message.contains("with ESMTPS id"));
    let record = world.records.transaction(1).await;
    let (version, cipher) = record.session.tls.unwrap();
    assert_eq!(version, "TLSv1.3");
    // The client names AES-256 with SHA-384 first; the gateway's own order counts.
    assert_eq!(cipher, "TLS_AES_128_GCM_SHA256");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_before_the_handshake_are_dropped() {
    let (pair, root) = certificate(&["mx.acme.test"]);
    let world =
        World::new(|snapshot| with_tls(snapshot, TlsMode::Opportunistic, &[("a", &pair)])).await;
    let mut client = world.client().await;
    // RFC 3207 §4.2: what came in the same packet must not be heard under TLS.
    client
        .send("STARTTLS\r\nEHLO injected.test\r\nMAIL FROM:<injected@evil.test>\r\n")
        .await;
    client.expect("220 ").await;
    let mut client = client.handshake(&root, "mx.acme.test").await.unwrap();
    client.talk("RCPT TO:<bob@acme.test>", "503 ").await;
    client.talk("EHLO client.test", "250 ").await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.talk("QUIT", "221 ").await;
    world.records.session(0).await;
    let all = world.records.transactions.lock().unwrap().clone();
    let senders: Vec<_> = all.iter().map(|one| one.reverse_path.as_str()).collect();
    assert_eq!(senders, ["ann@shop.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn required_tls_refuses_mail_in_clear() {
    let (pair, root) = certificate(&["mx.acme.test"]);
    let world = World::new(|snapshot| with_tls(snapshot, TlsMode::Required, &[("a", &pair)])).await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "530 5.7.0 ").await;
    let mut client = client.starttls(&root, "mx.acme.test").await;
    client.talk("EHLO client.test", "250 ").await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn implicit_tls_begins_with_the_first_octet() {
    let (pair, root) = certificate(&["mx.acme.test"]);
    let world = World::new(|snapshot| with_tls(snapshot, TlsMode::Implicit, &[("a", &pair)])).await;
    let client = Client::open(world.mx()).await;
    let mut client = client.handshake(&root, "mx.acme.test").await.unwrap();
    client.expect("220 ").await;
    let offers = client.talk("EHLO client.test", "250 ").await;
    assert!(!offers.contains("STARTTLS"), "{offers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_chosen_by_sni_and_changes_while_sessions_are_open() {
    let (one, one_root) = certificate(&["mx1.acme.test"]);
    let (two, two_root) = certificate(&["*.two.test", "two.test"]);
    let mut world = World::new(|snapshot| {
        with_tls(
            snapshot,
            TlsMode::Opportunistic,
            &[("one", &one), ("two", &two)],
        );
    })
    .await;
    let shown = |client: Client| client.shown.unwrap();
    let client = world
        .client()
        .await
        .starttls(&one_root, "mx1.acme.test")
        .await;
    assert_eq!(shown(client), one_root);
    let client = world
        .client()
        .await
        .starttls(&two_root, "mx.two.test")
        .await;
    assert_eq!(shown(client), two_root);

    let mut open = world
        .client()
        .await
        .starttls(&one_root, "mx1.acme.test")
        .await;
    open.talk("EHLO client.test", "250 ").await;
    let waiting = world.client().await;
    let (new, new_root) = certificate(&["mx1.acme.test"]);
    world.change(|snapshot| {
        snapshot.keys.certificates.insert("one".into(), new);
    });
    let fresh = world
        .client()
        .await
        .starttls(&new_root, "mx1.acme.test")
        .await;
    assert_eq!(shown(fresh), new_root);
    // The settings of a session stay those of its connection.
    let waiting = waiting.starttls(&one_root, "mx1.acme.test").await;
    assert_eq!(shown(waiting), one_root);
    let reply = open
        .mail(
            "ann@shop.test",
            "bob@acme.test",
            "From: a@shop.test\r\n\r\nx",
        )
        .await;
    assert!(
        reply.starts_with("250 "),
        "no connection was dropped: {reply}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_fails_closes_and_counts() {
    let (pair, _) = certificate(&["mx.acme.test"]);
    let (_, stranger) = certificate(&["mx.acme.test"]);
    let world =
        World::new(|snapshot| with_tls(snapshot, TlsMode::Opportunistic, &[("a", &pair)])).await;
    let mut client = world.client().await;
    client.talk("STARTTLS", "220 ").await;
    client.send("EHLO still in clear\r\n").await;
    while client.line_lossy().await {}
    let mut client = world.client().await;
    client.talk("STARTTLS", "220 ").await;
    assert!(client.handshake(&stranger, "mx.acme.test").await.is_err());
    let ends = [
        world.records.session(0).await,
        world.records.session(1).await,
    ];
    assert!(
        ends.iter().any(|session| session.span.error.is_some()),
        "{ends:#?}"
    );
    assert!(
        world
            .metric(r#"postern_tls_handshakes_total{listener="mx",version="failed"}"#)
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_comes_by_tls_1_2() {
    let (pair, root) = certificate(&["mx.acme.test"]);
    let world =
        World::new(|snapshot| with_tls(snapshot, TlsMode::Opportunistic, &[("a", &pair)])).await;
    let mut client = world.client().await;
    client.talk("STARTTLS", "220 ").await;
    let client = client.handshake_by(&[&TLS12], &root, "mx.acme.test").await;
    let mut client = client.unwrap();
    client.talk("EHLO client.test", "250 ").await;
    let reply = client
        .mail(
            "ann@shop.test",
            "bob@acme.test",
            "From: a@shop.test\r\n\r\nx",
        )
        .await;
    assert!(reply.starts_with("250 "), "{reply}");
    assert!(world.backend.mails()[0].message.contains("with ESMTPS id"));
    let record = world.records.transaction(0).await;
    let (version, cipher) = record.session.tls.unwrap();
    assert_eq!(version, "TLSv1.2");
    assert!(cipher.starts_with("TLS_ECDHE_ECDSA_WITH_"), "{cipher}");
    let counted = r#"postern_tls_handshakes_total{listener="mx",version="1.2"} 1"#;
    assert!(world.metric(counted).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_below_the_least_is_told_so_and_counted() {
    let (pair, root) = certificate(&["mx.acme.test"]);
    let world = World::new(|snapshot| {
        with_tls(snapshot, TlsMode::Opportunistic, &[("a", &pair)]);
        let tls = snapshot.config.listeners[0].tls.as_mut().unwrap();
        tls.min_version = TlsVersion::V1_3;
    })
    .await;
    let mut old = world.client().await;
    old.talk("STARTTLS", "220 ").await;
    let failed = old.handshake_by(&[&TLS12], &root, "mx.acme.test").await;
    let told = failed.err().unwrap().to_string();
    // RFC 8446 §6.2: protocol_version, not a connection that is merely gone.
    assert!(told.contains("ProtocolVersion"), "{told}");
    let session = world.records.session(0).await;
    let error = session.span.error.unwrap();
    assert!(error.contains("Tls12NotOffered"), "{error}");
    for counted in [
        r#"postern_tls_handshakes_total{listener="mx",version="failed"} 1"#,
        r#"postern_sessions_total{listener="mx",end="tls_failed"} 1"#,
    ] {
        assert!(world.metric(counted).is_some(), "{counted}");
    }
    let mut new = world.client().await;
    new.talk("STARTTLS", "220 ").await;
    let new = new.handshake_by(&[&TLS13], &root, "mx.acme.test").await;
    new.unwrap().talk("EHLO client.test", "250 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_fit_its_key_is_refused_by_name() {
    let (mut pair, _) = certificate(&["mx.acme.test"]);
    let (other, _) = certificate(&["mx.acme.test"]);
    let mut world = World::new(|_| {}).await;
    for (key, says) in [
        (other.key_pem.as_str(), "the key does not fit"),
        ("no PEM", "not PEM"),
    ] {
        pair.key_pem = key.to_owned();
        let mut bad = world.snapshot.clone();
        with_tls(&mut bad, TlsMode::Opportunistic, &[("mail/mx-tls", &pair)]);
        let error = world.gateway.apply(bad).unwrap_err().to_string();
        assert!(
            error.contains("certificate mail/mx-tls") && error.contains(says),
            "{error}"
        );
        let rejected = world.gateway.status().rejected.unwrap();
        assert_eq!(rejected.reason, error);
    }
    world.client().await;
    world.change(|_| {});
    assert_eq!(
        world.gateway.status().rejected,
        None,
        "a good one clears it"
    );
}
