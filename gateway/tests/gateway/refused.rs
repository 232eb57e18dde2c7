//! Every refusal at MAIL is on record: in the access log, as a span, in the metrics.

use crate::client::Client;
use crate::world::{World, certificate, enforced, with_tls};
use postern_config::listener::TlsMode;
use postern_gateway::telemetry::record::Disposition;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_refused_at_mail_is_on_record() {
    let world = World::new(|snapshot| {
        enforced(snapshot).mail.limits.value.message_size = 5000;
    })
    .await;
    let mut client = world.client().await;
    // What is said, what is answered, and the reverse-path as far as it can be read.
    let refused = [
        ("<a@shop.test> SIZE=5001", "552 5.3.4 ", "a@shop.test"),
        ("<a@shop.test> SIZE=x", "501 5.5.4 ", "a@shop.test"),
        ("<> RET=FULL", "555 5.5.4 ", "<>"),
        ("<a@shop@test>", "501 5.1.7 ", ""),
        ("<j\u{f6}rg@shop.test>", "550 5.6.7 ", "j\u{f6}rg@shop.test"),
    ];
    for (seen, (path, reply, reverse_path)) in refused.into_iter().enumerate() {
        let said = client.talk(&format!("MAIL FROM:{path}"), reply).await;
        let record = world.records.transaction(seen).await;
        assert_eq!(record.disposition, Disposition::Rejected, "{path}");
        let (code, enhanced, text) = record.reply.unwrap();
        assert_eq!(said, format!("{code} {enhanced} {text}"));
        assert_eq!(record.reverse_path, reverse_path);
        assert_eq!(record.span.name, "smtp.transaction");
        assert_eq!(record.ids.trace_id, record.session.ids.trace_id);
    }
    // Out of order, a transaction is not asked for.
    client.talk("MAIL FROM:<a@shop.test>", "250 ").await;
    client.talk("MAIL FROM:<b@shop.test>", "503 ").await;
    client.talk("QUIT", "221 ").await;
    let session = world.records.session(0).await;
    assert_eq!(session.transactions, 6);
    let metric = r#"postern_transactions_total{listener="mx",disposition="rejected"} 5"#;
    assert_eq!(world.metric(metric).as_deref(), Some(metric));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_without_tls_where_it_is_required_is_on_record() {
    let (pair, _) = certificate(&["mx.acme.test"]);
    let world = World::new(|snapshot| with_tls(snapshot, TlsMode::Required, &[("a", &pair)])).await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<a@shop.test>", "530 5.7.0 ").await;
    let record = world.records.transaction(0).await;
    assert_eq!(record.disposition, Disposition::Rejected);
    assert_eq!(record.reply.unwrap().0, 530);
    assert_eq!(record.reverse_path, "a@shop.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_gone_leaves_a_record_of_what_it_refused() {
    let mut world = World::new(|_| {}).await;
    let mut client = Client::hello(world.mx()).await;
    world.change(|snapshot| snapshot.config.listeners[0].name = "other".into());
    client.talk("MAIL FROM:<a@shop.test>", "421 4.3.2 ").await;
    client.expect_end().await;
    let record = world.records.transaction(0).await;
    assert_eq!(record.disposition, Disposition::Deferred);
    assert_eq!(record.reply.unwrap().0, 421);
    assert_eq!(record.session.listener, "mx");
}
