//! Addresses, hosts, headless Services and MX.

use super::backend::Script;
use super::*;
use std::collections::HashMap;
use std::net::IpAddr;

const A: &str = "a@acme.test";

/// A zone: `name A address`, `name MX preference host`, `name NONE`, `name FAIL`.
#[derive(Default)]
struct Zone {
    addresses: HashMap<String, Vec<Ipv4Addr>>,
    exchangers: HashMap<String, Vec<Mx>>,
    failing: Vec<String>,
    names: Vec<String>,
}

fn zone(text: &str) -> Arc<Zone> {
    let mut zone = Zone::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words[0].to_owned();
        zone.names.push(name.clone());
        match words[1..] {
            ["A", address] => zone
                .addresses
                .entry(name)
                .or_default()
                .push(address.parse().unwrap()),
            ["MX", preference, host] => {
                let exchange = (host != ".").then(|| Name::parse(host).unwrap());
                let mx = Mx {
                    preference: preference.parse().unwrap(),
                    exchange,
                };
                let records = zone.exchangers.entry(name).or_default();
                records.push(mx);
                records.sort_by_key(|mx| mx.preference);
            }
            ["FAIL"] => zone.failing.push(name),
            _ => {}
        }
    }
    Arc::new(zone)
}

impl Zone {
    fn answer<T: Clone>(
        &self,
        records: Option<&Vec<T>>,
        name: &Name,
    ) -> Result<Arc<[T]>, DnsError> {
        if self.failing.iter().any(|failing| failing == name.as_str()) {
            return Err(DnsError::Temporary(
                postern_verify::resolve::Temporary::ServFail,
            ));
        }
        let nxdomain = !self.names.iter().any(|known| known == name.as_str());
        let records = records.ok_or(DnsError::NoRecords { nxdomain })?;
        Ok(records.clone().into())
    }
}

impl Names for Zone {
    fn a<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv4Addr]>, DnsError>> {
        Box::pin(async { self.answer(self.addresses.get(name.as_str()), name) })
    }
    fn aaaa<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Ipv6Addr]>, DnsError>> {
        Box::pin(async { self.answer(None, name) })
    }
    fn mx<'n>(&'n self, name: &'n Name) -> BoxFuture<'n, Result<Arc<[Mx]>, DnsError>> {
        Box::pin(async { self.answer(self.exchangers.get(name.as_str()), name) })
    }
}

/// A backend on 127.0.0.2; its port is the MX port.
async fn mx_world(text: &str, script: Script) -> (World, Scripted) {
    let backend = Scripted::start_at("127.0.0.2:0".parse().unwrap(), script).await;
    let limits = Limits {
        mx_port: backend.address.port(),
        ..limits()
    };
    let mx = Compiled {
        target: Target::Mx,
        ..compiled(backend.address, BackendProtocol::Smtp)
    };
    (World::with(limits, mx, zone(text)), backend)
}

#[tokio::test]
async fn mx_hosts_are_tried_in_order_of_preference() {
    // Nothing listens on 127.0.0.3 and 127.0.0.4.
    let text = "acme.test MX 30 mx3.acme.test
        acme.test MX 10 mx1.acme.test
        acme.test MX 20 mx2.acme.test
        mx1.acme.test A 127.0.0.3
        mx1.acme.test A 127.0.0.4
        mx2.acme.test A 127.0.0.2
        mx3.acme.test A 127.0.0.5";
    let (mut world, backend) = mx_world(text, Script::default()).await;
    let outcome = world.deliver_to(&[A]).await;
    assert_eq!(reply(&outcome), "250");
    assert_eq!(outcome.record.host.as_deref(), Some("mx2.acme.test"));
    assert_eq!(outcome.record.peer, Some(backend.address));
    assert_eq!(world.deliveries.counters().connections_failed, 2);
}

#[tokio::test]
async fn without_mx_the_domain_itself_is_the_host() {
    let (mut world, backend) = mx_world("acme.test A 127.0.0.2", Script::default()).await;
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    assert_eq!(backend.messages().len(), 1);
}

#[tokio::test]
async fn domains_that_take_no_mail() {
    for (text, wanted) in [
        ("acme.test MX 0 .", "556 5.1.10"),
        ("other.test A 127.0.0.2", "550 5.1.2"),
        ("acme.test NONE", "550 5.1.2"),
        ("acme.test FAIL", "451 4.4.3"),
        (
            "acme.test MX 10 mx1.acme.test\nmx1.acme.test FAIL",
            "451 4.4.3",
        ),
        ("acme.test MX 10 mx1.acme.test", "550 5.1.2"),
        (
            "acme.test MX 10 mx1.example.com\nmx1.example.com A 127.0.0.2",
            "554 5.4.6",
        ),
        (
            "acme.test MX 10 mx1.acme.test\nmx1.acme.test A 127.0.0.3",
            "451 4.4.1",
        ),
    ] {
        let (mut world, backend) = mx_world(text, Script::default()).await;
        assert_eq!(reply(&world.deliver_to(&[A]).await), wanted, "{text}");
        assert_eq!(backend.connections(), 0);
    }
}

#[tokio::test]
async fn hosts_that_are_worse_than_ours_are_left_out() {
    let text = "acme.test MX 10 mx0.acme.test
        acme.test MX 20 mx1.example.com
        acme.test MX 30 mx2.acme.test
        mx0.acme.test A 127.0.0.3
        mx2.acme.test A 127.0.0.2";
    let (mut world, backend) = mx_world(text, Script::default()).await;
    assert_eq!(reply(&world.deliver_to(&[A]).await), "451 4.4.1");
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn an_address_literal_is_its_own_host() {
    let (mut world, _backend) = mx_world("x NONE", Script::default()).await;
    assert_eq!(reply(&world.deliver_to(&["a@[127.0.0.2]"]).await), "250");
}

#[tokio::test]
async fn with_mx_two_domains_are_two_destinations_and_share_no_connection() {
    let text = "acme.test A 127.0.0.2\nother.test A 127.0.0.2";
    let (mut world, backend) = mx_world(text, Script::default()).await;
    let (one, other) = (world.destination(A), world.destination("b@other.test"));
    assert_ne!(one.key(), other.key());
    assert_eq!(one.key(), world.destination("c@acme.test").key());
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    assert_eq!(reply(&world.deliver_to(&["b@other.test"]).await), "250");
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn an_mx_that_refuses_the_connection_is_passed_over() {
    let text = "acme.test MX 10 mx1.acme.test
        acme.test MX 20 mx2.acme.test
        mx1.acme.test A 127.0.0.3
        mx2.acme.test A 127.0.0.2";
    let (mut world, backend) = mx_world(text, Script::default()).await;
    let first: SocketAddr = format!("127.0.0.3:{}", backend.address.port())
        .parse()
        .unwrap();
    let refuses = Script::default().says("connect", "554 5.3.2 not here");
    let refusing = Scripted::start_at(first, refuses).await;
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    assert_eq!((refusing.connections(), backend.connections()), (1, 1));
}

#[tokio::test]
async fn a_host_is_looked_up_by_the_gateways_resolver() {
    let backend = Scripted::start_at("127.0.0.2:0".parse().unwrap(), Script::default()).await;
    let port = backend.address.port();
    let at = |name: &str| Compiled {
        target: Target::Host {
            name: name.to_owned(),
            port,
        },
        ..compiled(backend.address, BackendProtocol::Smtp)
    };
    let names = zone("legacy.acme.test A 127.0.0.2\nfail.test FAIL");
    for (name, wanted) in [
        ("legacy.acme.test", "250"),
        ("127.0.0.2", "250"),
        ("fail.test", "451 4.4.3"),
        // What the operator can mend is no bounce.
        ("gone.test", "451 4.4.1"),
    ] {
        let mut world = World::with(limits(), at(name), names.clone());
        assert_eq!(reply(&world.deliver_to(&[A]).await), wanted, "{name}");
    }
}

#[tokio::test]
async fn a_headless_service_is_looked_up_by_the_system() {
    let backend = Scripted::start(Script::default()).await;
    let port = backend.address.port();
    let at = |name: &str| Compiled {
        target: Target::Headless {
            name: name.to_owned(),
            port,
        },
        ..compiled(backend.address, BackendProtocol::Smtp)
    };
    assert_eq!(limits().headless, Duration::from_secs(5));
    // The system knows this one without a name server.
    let mut world = World::of(at("localhost"));
    assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    let mut world = World::of(at("no..name"));
    assert_eq!(reply(&world.deliver_to(&[A]).await), "451 4.4.1");
}

#[tokio::test]
async fn the_addresses_of_a_service_are_tried_in_turn() {
    let one = Scripted::start_at("127.0.0.2:0".parse().unwrap(), Script::default()).await;
    let port = one.address.port();
    let two = format!("127.0.0.3:{port}").parse().unwrap();
    let two = Scripted::start_at(two, Script::default()).await;
    let addresses: Vec<IpAddr> = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
    let service = Compiled {
        target: Target::Addresses { addresses, port },
        ..compiled(one.address, BackendProtocol::Smtp)
    };
    let limits = Limits {
        uses: 1,
        ..limits()
    };
    let mut world = World::with(limits, service, Arc::new(NoNames));
    for _ in 0..6 {
        assert_eq!(reply(&world.deliver_to(&[A]).await), "250");
    }
    // The third address is dead; whoever begins there goes on to the first.
    assert_eq!((one.messages().len(), two.messages().len()), (4, 2));
    let none = Compiled {
        target: Target::Addresses {
            addresses: vec![],
            port,
        },
        ..compiled(one.address, BackendProtocol::Smtp)
    };
    assert_eq!(reply(&World::of(none).deliver_to(&[A]).await), "451 4.4.1");
}
