//! `postern demo`: what a person reads, and what `--keep` leaves to be tried.

use crate::{LOCAL, SOON, greeting, postern, text};
use postern_cli::demo::client::{Client, Reply};
use postern_tests::folder::Folder;
use postern_tests::program::Program;
use postern_tests::tools;
use postern_tests::wait::eventually;
use rustix::process::Signal;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

/// The whole demonstration takes no longer once it is built.
const WHOLE: Duration = Duration::from_secs(10);

/// What is printed of the scene with this number, counted from 1.
fn scene(printed: &str, number: usize) -> &str {
    let begins = format!("{number}. ");
    printed
        .split("\n\n")
        .find(|part| part.starts_with(&begins))
        .unwrap_or_else(|| panic!("no scene {number} in\n{printed}"))
}

/// The verdicts of a scene: check, result, action, policy.
fn verdicts(scene: &str) -> Vec<[&str; 4]> {
    let lines = scene.lines().skip_while(|line| *line != "    verdicts");
    let lines = lines
        .skip(1)
        .take_while(|line| !line.starts_with("    ended "));
    lines
        .map(|line| {
            let (finding, decision) = line.split_once(" -> ").unwrap();
            let (action, policy) = decision.split_once(' ').unwrap();
            let mut words = finding.split_whitespace();
            [words.next().unwrap(), words.next().unwrap(), action, policy]
        })
        .collect()
}

/// The branches of a scene's trace without their times and attributes. Each has both times.
fn branches(scene: &str) -> Vec<&str> {
    let lines = scene
        .lines()
        .skip_while(|line| !line.starts_with("    smtp.transaction "));
    let lines = lines.take_while(|line| !line.starts_with("    went to "));
    lines
        .map(|line| {
            let (name, times) = line.split_once(" +").unwrap();
            assert_eq!(times.matches(" ms").count(), 2, "{line}");
            name.trim_end()
        })
        .collect()
}

#[test]
fn the_demonstration_goes_as_expected() {
    let began = Instant::now();
    let output = postern(&["demo"]);
    let took = began.elapsed();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    assert!(printed.contains("6 of 6 as expected"), "{printed}");
    assert!(took < WHOLE, "{took:?}\n{printed}");

    let replies = [
        "250 2.0.0 ",
        "550 5.7.26 ",
        "550 5.7.26 ",
        "550 5.1.1 ",
        "552 5.3.4 ",
        "none: the connection was cut",
    ];
    for (index, reply) in replies.iter().enumerate() {
        let scene = scene(&printed, index + 1);
        assert!(scene.contains(&format!("    reply    {reply}")), "{scene}");
        let delivered = scene.contains("went to  the mail store, for <bob@acme.test>: ");
        assert_eq!(delivered, index == 0, "{scene}");
    }
    the_verdict_of_each_check_is_printed(&printed);
    the_trace_is_a_tree(&printed);
}

fn the_verdict_of_each_check_is_printed(printed: &str) {
    let default = |check, result| [check, result, "Accept", "[default]"];
    let strict = |check, result, action| [check, result, action, "[mail/strict]"];
    // Loopback has no reverse names in the zone.
    let (arc, iprev) = (default("arc", "none"), default("iprev", "fail"));
    let genuine = [
        default("from", "pass"),
        default("dmarc", "pass"),
        default("spf", "pass"),
        default("dkim", "pass"),
        arc,
        iprev,
    ];
    assert_eq!(verdicts(scene(printed, 1)), genuine);
    for (number, dkim) in [(2, "none"), (3, "fail")] {
        let refused = [
            default("from", "pass"),
            strict("dmarc", "fail", "Reject"),
            strict("spf", "fail", "Tag"),
            default("dkim", dkim),
            arc,
            iprev,
        ];
        assert_eq!(verdicts(scene(printed, number)), refused, "scene {number}");
    }
}

/// The branches below this one.
fn below<'a>(branches: &[&'a str], parent: &str) -> Vec<&'a str> {
    let place = branches.iter().position(|branch| *branch == parent);
    let place = place.unwrap_or_else(|| panic!("no {parent} in {branches:#?}"));
    let indented = |branch: &&str| branch.starts_with("    │  ") || branch.starts_with("       ");
    let below = branches[place + 1..].iter().copied();
    below.take_while(indented).collect()
}

fn the_trace_is_a_tree(printed: &str) {
    let genuine = branches(scene(printed, 1));
    assert_eq!(genuine[0], "    smtp.transaction");
    for check in ["spf", "dkim", "dmarc"] {
        let lookups = below(&genuine, &format!("    ├─ check.{check}"));
        let asked = lookups
            .last()
            .is_some_and(|last| last.ends_with("└─ dns.lookup"));
        assert!(asked, "{check}: {genuine:#?}");
    }
    let delivery: Vec<&str> = below(&genuine, "    └─ smtp.delivery")
        .iter()
        .map(|branch| branch.trim_start())
        .collect();
    let steps = [
        "├─ smtp.delivery.connect",
        "├─ smtp.delivery.envelope",
        "├─ smtp.delivery.data",
        "└─ smtp.delivery.reply",
    ];
    assert_eq!(delivery, steps);
    let forged = branches(scene(printed, 2));
    let has = |name: &str| forged.iter().any(|branch| branch.ends_with(name));
    assert!(has("─ check.dmarc") && !has("smtp.delivery"), "{forged:#?}");
}

/// A command that `--keep` prints, with the line above it, which says what it shows.
struct Hint<'a> {
    shows: &'a str,
    command: &'a str,
}

impl Hint<'_> {
    /// The address that the command sends from.
    fn source(&self) -> IpAddr {
        let mut words = self.command.split(' ');
        let from = words.find(|word| matches!(*word, "--local-interface" | "--interface"));
        from.map_or(LOCAL, |_| words.next().unwrap().parse().unwrap())
    }
}

fn hints(printed: &str) -> Vec<Hint<'_>> {
    let lines: Vec<&str> = printed.lines().collect();
    let pairs = lines.windows(2).filter_map(|pair| match *pair {
        [above, command] => {
            let shows = above.strip_prefix("  # ")?;
            Some(Hint { shows, command })
        }
        _ => None,
    });
    pairs.collect()
}

/// What becomes of a mail from alice@sender.test without a signature: the reply that refuses or
/// takes it.
async fn unsigned_mail(gateway: SocketAddr, source: IpAddr, to: &str) -> Reply {
    let mut client = Client::connect(gateway, source, "laptop.test")
        .await
        .unwrap();
    let envelope = [
        "MAIL FROM:<alice@sender.test>".to_owned(),
        format!("RCPT TO:<{to}>"),
    ];
    for command in envelope {
        let reply = client.ask(&command).await.unwrap();
        if reply.code != 250 {
            return reply;
        }
    }
    assert_eq!(client.ask("DATA").await.unwrap().code, 354);
    let mail = "From: alice@sender.test\r\n\r\nHello.";
    client.message(mail).await.unwrap()
}

#[tokio::test]
async fn what_is_kept_does_what_the_commands_promise_until_it_is_interrupted() {
    let folder = Folder::new("keep");
    let mut command = Command::new(tools::postern());
    command.args(["demo", "--keep"]);
    let mut demo = Program::start("demo", &command, folder.path());
    let printed = eventually(WHOLE, async || {
        let printed = demo.output();
        let whole = printed.ends_with('\n') && printed.contains("  openssl s_client ");
        whole.then_some(printed.clone()).ok_or(printed)
    })
    .await;
    let hints = hints(&printed);
    assert_eq!(hints.len(), 5, "{printed}");
    let openssl = hints.last().unwrap().command;
    let address: Option<SocketAddr> = openssl.split(' ').find_map(|word| word.parse().ok());
    let gateway = address.unwrap();
    let greeting = greeting(gateway).await;
    assert!(greeting.starts_with("220 mx1.acme.test "), "{greeting}");

    for hint in &hints[..4] {
        let Hint { shows, command } = hint;
        assert!(command.contains(&gateway.to_string()), "{command}");
        let to = match command.contains("nobody@acme.test") {
            true => "nobody@acme.test",
            false => "bob@acme.test",
        };
        let reply = unsigned_mail(gateway, hint.source(), to).await;
        let said = format!("{} {}", reply.code, reply.text);
        let promised = shows
            .split([':', ' '])
            .take(2)
            .collect::<Vec<_>>()
            .join(" ");
        assert!(said.starts_with(&promised), "{shows}: {command}: {said}");
    }
    demo.signal(Signal::INT);
    let status = demo.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", demo.last_output(5));
}
