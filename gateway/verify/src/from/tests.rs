//! One rule, and every way around it that somebody tried.

use super::*;
use proptest::prelude::*;

fn author_of(header: &str) -> Author {
    let raw = format!("{header}\r\n\r\n");
    author(&Message::parse(raw.as_bytes()).unwrap())
}

fn one(header: &str) -> Option<String> {
    author_of(header).domain().map(ToString::to_string)
}

#[test]
fn one_domain() {
    for header in [
        "From: a@b.test",
        "from:<a@B.Test>",
        "From: A B <a@b.test>",
        "From: \"x@evil.test\" <a@b.test>",
        "From: (x@evil.test) a@b.test (y@evil.test (nested))",
        "From: =?utf-8?q?x=40evil.test?= <a@b.test>",
        "From: a@b.test, \"c, d\" <c@b.test>",
        "From: Team: a@b.test, C <c@b.test>;",
        "From: Dr. A. B. <a@b.test>",
        "From: \"a b\"@b.test",
        "From: a . x @ b . test",
        "From: <@route.test,@two.test:a@b.test>",
        "From: A\r\n B\r\n\t<a@b.test>",
        "From: ,a@b.test,,",
        "From: Shop, Inc. <a@b.test>",
        "From: a@b.test <a@b.test>",
        "From: \u{dc}mit <\u{fc}@b.test>",
    ] {
        assert_eq!(one(header).as_deref(), Some("b.test"), "{header}");
    }
}

#[test]
fn u_labels_become_a_labels() {
    assert_eq!(
        one("From: <a@b\u{fc}cher.test>").as_deref(),
        Some("xn--bcher-kva.test")
    );
}

#[test]
fn the_mailbox_is_for_the_trace() {
    assert_eq!(
        author_of("From: X <\"a b\".c@B.test>"),
        Author::One {
            domain: Name::parse("b.test").unwrap(),
            mailbox: "\"a b\".c@B.test".into()
        }
    );
}

#[test]
fn several_domains() {
    for header in [
        "From: a@b.test, c@d.test",
        "From: a@b.test <c@d.test>",
        "From: Group: a@b.test;, c@d.test",
        "From: a@b.test, \"\" <c@d.test>",
    ] {
        let Author::Several(domains) = author_of(header) else {
            panic!("{header}")
        };
        assert_eq!(domains.len(), 2, "{header}");
    }
}

#[test]
fn missing() {
    for header in [
        "To: a@b.test",
        "From: ",
        "From: undisclosed:;",
        "From: nobody",
        "From: ,",
    ] {
        assert_eq!(author_of(header), Author::Missing, "{header}");
    }
}

#[test]
fn unreadable() {
    use Unreadable::*;
    for (header, why) in [
        ("From: a@b.test\r\nFROM: a@b.test", SeveralFields),
        (
            "From: a@b.test\r\nno field\r\nFrom: c@d.test",
            SeveralFields,
        ),
        ("From: a\0@b.test", ControlCharacter),
        ("From: a@b.test>", Syntax),
        ("From: <a@b.test", Syntax),
        ("From: <a>", Syntax),
        ("From: <>", Syntax),
        ("From: @b.test", Syntax),
        ("From: a@", Syntax),
        ("From: a@b..test", Syntax),
        ("From: a@b.test.", Syntax),
        ("From: a@b@c.test", Syntax),
        ("From: <a@b.test> <c@d.test>", Syntax),
        ("From: \"open <a@b.test>", Syntax),
        ("From: (open <a@b.test>", Syntax),
        ("From: a\\@b.test", Syntax),
        ("From: G: H: a@b.test;;", Syntax),
        ("From: a@[192.0.2.1]", NoDomainName),
        ("From: a@xn--a.test, b@\u{2f}\u{338}.test", NoDomainName),
    ] {
        assert_eq!(author_of(header), Author::Unreadable(why), "{header}");
    }
    let latin = Message::parse(b"From: \xe9 <a@b.test>\r\n\r\n").unwrap();
    assert_eq!(author(&latin), Author::Unreadable(NotUtf8));
    let deep = format!("From: {}a@b.test", "(".repeat(1_000));
    assert_eq!(author_of(&deep), Author::Unreadable(Syntax));
    let many = format!("From: {}", "a@b.test,".repeat(1_001));
    assert_eq!(author_of(&many), Author::Unreadable(TooMany));
}

proptest! {
    #[test]
    fn never_a_panic(value in "[a-c@.<>,:;()\"\\\\\\[\\] \u{e9}]{0,40}") {
        let _ = author_of(&format!("From: {value}"));
    }
}
