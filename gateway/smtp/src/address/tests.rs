//! What addresses are read as, compared by and written as. (Which texts are refused, and how, is
//! in the dialogues of MAIL, RCPT and HELO.)

use super::*;
use proptest::prelude::*;

fn mailbox(text: &str) -> Mailbox {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn quoting_is_read_and_written_where_it_is_needed() {
    for (text, local_part, written) in [
        ("a.b@x.test", "a.b", "a.b@x.test"),
        ("\"a.b\"@x.test", "a.b", "a.b@x.test"),
        ("\"a b\"@x.test", "a b", "\"a b\"@x.test"),
        ("\"a\\\"\\\\\\b\"@x.test", "a\"\\b", "\"a\\\"\\\\b\"@x.test"),
        ("\"\"@x.test", "", "\"\"@x.test"),
        ("\"a..b\"@x.test", "a..b", "\"a..b\"@x.test"),
        ("\"a@b\"@x.test", "a@b", "\"a@b\"@x.test"),
    ] {
        let mailbox = mailbox(text);
        assert_eq!(mailbox.local_part, local_part, "{text}");
        assert_eq!(mailbox.to_string(), written, "{text}");
    }
}

#[test]
fn domains_are_a_labels_and_keep_what_was_sent() {
    let unicode = mailbox("jürgen@Bücher.EXAMPLE");
    assert_eq!(
        unicode.domain,
        Domain::Name("xn--bcher-kva.example".to_owned())
    );
    assert_eq!(unicode.to_string(), "jürgen@Bücher.EXAMPLE");
    assert!(!unicode.is_ascii());
    assert_eq!(unicode.to_ascii(), None);
    let half = mailbox("j@bücher.example");
    assert_eq!(half.to_ascii().as_deref(), Some("j@xn--bcher-kva.example"));
    assert_eq!(mailbox("a@X.Test").to_ascii().as_deref(), Some("a@x.test"));
}

#[test]
fn a_client_may_have_underscores_in_its_name_and_a_mailbox_not() {
    for name in ["WIN_2012.corp.example", "_a", "a_", "_._"] {
        let read = name.parse::<ClientName>().unwrap();
        assert_eq!(read.to_string(), name.to_ascii_lowercase());
        assert!(format!("a@{name}").parse::<Mailbox>().is_err(), "{name}");
    }
    for name in ["a_-", "-_", "a b", "a..b", "_.", "[_]", "a_\u{e9}", "a!b"] {
        assert!(name.parse::<ClientName>().is_err(), "{name}");
    }
}

#[test]
fn literals_are_addresses() {
    for (text, address) in [
        ("a@[192.0.2.1]", "192.0.2.1"),
        ("a@[192.000.002.010]", "192.0.2.10"),
        ("a@[IPv6:2001:DB8::1]", "2001:db8::1"),
        ("a@[ipV6:::ffff:192.0.2.1]", "::ffff:192.0.2.1"),
    ] {
        let address = address.parse().unwrap();
        assert_eq!(mailbox(text).domain, Domain::Literal(address), "{text}");
    }
    assert_eq!(mailbox("a@[192.0.2.1]").domain.to_string(), "[192.0.2.1]");
    assert_eq!(
        "[IPv6:::1]".parse::<ClientName>().unwrap().to_string(),
        "[IPv6:::1]"
    );
}

#[test]
fn keys_compare_ascii_letters_without_case() {
    assert_eq!(
        mailbox("Sales@ACME.test").key(),
        mailbox("sAlEs@acme.TEST").key()
    );
    assert_eq!(mailbox("\"a\"@x.test").key(), mailbox("A@x.test").key());
    assert_eq!(
        mailbox("a@bücher.test").key(),
        mailbox("a@xn--bcher-kva.test").key()
    );
    assert_ne!(mailbox("É@x.test").key(), mailbox("é@x.test").key());
    assert_ne!(
        mailbox("a@[192.0.2.1]").key(),
        mailbox("a@[192.0.2.2]").key()
    );
    assert!(mailbox("A.B@x.test").matches_local("a.b"));
}

#[test]
fn a_mailbox_alone_has_nothing_behind_it() {
    assert_eq!(
        "a@x.test>".parse::<Mailbox>(),
        Err(AddressError::TrailingText)
    );
    assert_eq!(
        "a@x.test b".parse::<Mailbox>(),
        Err(AddressError::TrailingText)
    );
    assert_eq!("a".parse::<Mailbox>(), Err(AddressError::DomainMissing));
    assert_eq!("@x.test".parse::<Mailbox>(), Err(AddressError::LocalPart));
}

#[test]
fn the_postmaster_needs_no_domain_as_recipient_only() {
    assert_eq!(
        forward_path("<PostMaster> X"),
        Ok((ForwardPath::Postmaster, " X"))
    );
    assert_eq!(
        reverse_path("<postmaster>"),
        Err(AddressError::DomainMissing)
    );
    let (path, _) = forward_path("<Postmaster@x.test>").unwrap();
    assert!(path.is_postmaster());
    assert_eq!(path.to_string(), "<Postmaster@x.test>");
}

#[test]
fn lengths_are_limited_where_the_rfc_says() {
    let domain = |octets: usize| {
        format!(
            "{}.t",
            "a".repeat(60).as_str().to_owned() + &".a".repeat((octets - 62) / 2)
        )
    };
    let path = |local: usize, octets: usize| format!("<{}@{}>", "l".repeat(local), domain(octets));
    let longest = path(64, 188);
    assert!(
        longest.len() <= MAX_PATH && longest.len() + 2 > MAX_PATH,
        "{}",
        longest.len()
    );
    assert!(reverse_path(&longest).is_ok());
    assert_eq!(reverse_path(&path(64, 192)), Err(AddressError::PathTooLong));
    assert_eq!(
        reverse_path(&path(65, 100)),
        Err(AddressError::LocalPartTooLong)
    );
    assert_eq!(
        reverse_path(&path(1, 260)),
        Err(AddressError::DomainTooLong)
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        local in "[ -~]{0,20}|[a-z.é]{1,10}",
        domain in "[a-z]{1,9}(\\.[A-Z0-9]{1,9}){0,3}",
    ) {
        let parsed = Mailbox {
            local_part: local,
            domain: Domain::Name(domain.to_ascii_lowercase()),
            domain_as_sent: domain,
        };
        let written = parsed.to_string();
        prop_assert_eq!(written.parse::<Mailbox>(), Ok(parsed), "{}", written);
    }

    #[test]
    fn any_text_is_an_answer(text in "\\PC{0,40}|[<>@:,.\"\\\\a\\[\\]]{0,30}") {
        for path in [text.clone(), format!("<{text}>")] {
            if let Ok((path, _)) = forward_path(&path) {
                // What was taken can be sent on, and is the same to the next server.
                let again = path.to_string();
                let (back, rest) = forward_path(&again).unwrap();
                prop_assert_eq!(back, path);
                prop_assert_eq!(rest, "");
            }
            let _ = reverse_path(&path);
        }
        let _ = text.parse::<ClientName>();
    }
}
