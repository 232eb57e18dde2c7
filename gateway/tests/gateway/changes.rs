//! A change of the configuration while mail flows.

use crate::client::Client;
use crate::world::{World, by_policy, enforced, first_rule, listener};
use postern_config::policy::{AddressPattern, Mark, SenderAccess};

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_ends_on_its_snapshot_and_the_next_mail_sees_the_new() {
    let mut world = World::new(|_| {}).await;
    let mut client = world.client().await;
    client.talk("MAIL FROM:<ann@shop.test>", "250 ").await;
    client.talk("RCPT TO:<bob@acme.test>", "250 ").await;
    let old = world.gateway.status().applied.unwrap();
    world.change(|snapshot| {
        first_rule(snapshot).enforced.data.mark = by_policy(Mark {
            headers: vec![("X-New".into(), "1".into())],
        });
        let deny = vec![AddressPattern::Domain("spam.test".into())];
        enforced(snapshot).mail.senders = by_policy(SenderAccess {
            allow: vec![],
            deny,
        });
        snapshot.config.routes[0].rules[0].name = "renamed".into();
    });
    client.talk("RCPT TO:<eve@acme.test>", "250 ").await;
    client.talk("DATA", "354 ").await;
    client.send("From: ann@shop.test\r\n\r\nx\r\n.\r\n").await;
    client.expect("250 ").await;
    client.talk("MAIL FROM:<x@spam.test>", "550 5.7.1 ").await;
    let reply = client
        .mail(
            "ann@shop.test",
            "bob@acme.test",
            "From: a@shop.test\r\n\r\nx",
        )
        .await;
    assert!(reply.starts_with("250 "), "{reply}");
    let mails = world.backend.mails();
    assert!(!mails[0].message.contains("X-New"), "{}", mails[0].message);
    assert!(
        mails[1].message.contains("X-New: 1\r\n"),
        "{}",
        mails[1].message
    );
    let new = world.gateway.status().applied.unwrap();
    assert_eq!(new.generation, old.generation + 1);
    let first = world.records.transaction(0).await;
    assert_eq!(
        (first.snapshot.as_str(), first.route.as_deref()),
        (&*old.hash, Some("acme/mail/default"))
    );
    assert_eq!(world.records.transaction(2).await.snapshot, new.hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_come_and_go_and_open_sockets_stay() {
    let mut world = World::new(|_| {}).await;
    let mx = world.mx();
    world.change(|snapshot| snapshot.config.listeners.push(listener("second", 2525)));
    assert_eq!(world.mx(), mx, "the socket stays");
    let second = world.gateway.local_addr("second").unwrap();
    let mut open = Client::hello(second).await;
    world.change(|snapshot| snapshot.config.listeners.truncate(1));
    assert_eq!(world.gateway.local_addr("second"), None);
    assert!(
        tokio::net::TcpStream::connect(second).await.is_err(),
        "its port is closed"
    );
    open.talk("NOOP", "250 ").await;
    open.talk("MAIL FROM:<ann@shop.test>", "421 4.3.2 ").await;
    open.expect_end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_may_change_its_name_and_keep_its_port() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut world = World::new(|snapshot| snapshot.config.listeners[0].bind_port = free).await;
    world.change(|snapshot| snapshot.config.listeners[0].name = "renamed".into());
    let address = world.gateway.local_addr("renamed").unwrap();
    assert_eq!(address.port(), free);
    Client::hello(address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_rejects_the_snapshot_and_the_old_one_serves_on() {
    let world = World::new(|_| {}).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bad = world.snapshot.clone();
    bad.config.listeners.push(listener("second", 2525));
    bad.config.listeners[1].bind_port = taken.local_addr().unwrap().port();
    let hash = bad.hash();
    let error = world.gateway.apply(bad).unwrap_err().to_string();
    assert!(
        error.contains("listener second") && error.contains("cannot listen on"),
        "{error}"
    );
    let status = world.gateway.status();
    assert_eq!(status.rejected.unwrap().hash, hash);
    assert_eq!(status.applied.unwrap().hash, world.snapshot.hash());
    world.client().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_contradicts_itself_is_rejected() {
    let world = World::new(|_| {}).await;
    let rejects = |change: &dyn Fn(&mut postern_config::Snapshot)| {
        let mut bad = world.snapshot.clone();
        change(&mut bad);
        world.gateway.apply(bad).unwrap_err().to_string()
    };
    let error = rejects(&|s| s.config.listeners[0].claims[0].route = 9);
    assert!(error.contains("route 9"), "{error}");
    let error = rejects(&|s| s.config.postmaster = Some("not a mailbox".into()));
    assert!(error.contains("postmaster"), "{error}");
    let error = rejects(&|s| {
        s.config.listeners.push(listener("mx", 26));
    });
    assert!(error.contains("same name or port"), "{error}");
    let error = rejects(&|s| {
        let pattern = postern_config::route::LocalPartMatch::RegularExpression("(".into());
        s.config.routes[0].rules[0].matches = vec![pattern];
    });
    assert!(error.contains("route acme/mail, rule default"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_answers() {
    let world = World::new(|_| {}).await;
    let admin = world.gateway.admin_addr().unwrap();
    let get = async |path: &str| {
        let mut client = Client::open(admin).await;
        client
            .send(format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            ))
            .await;
        client.rest().await
    };
    assert!(get("/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get("/readyz").await.starts_with("HTTP/1.1 200"));
    let configz = get("/configz").await;
    let json: postern_config::configz::Configz =
        serde_json::from_str(configz.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(json.applied.unwrap().hash, world.snapshot.hash());
    let metrics = get("/metrics").await;
    assert!(
        metrics.contains("postern_message_memory_limit"),
        "{metrics}"
    );
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    world.gateway.shutdown();
    assert!(get("/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(get("/livez").await.starts_with("HTTP/1.1 200"));
}
