//! Traceparent, forged fields, dates.

use super::*;

fn scan(raw: &Bytes) -> Message<'_> {
    Message::parse(raw).unwrap()
}

fn parent(fields: &str) -> Option<RemoteParent> {
    let raw = Bytes::from(format!("{fields}From: a@b.test\r\n\r\nx"));
    remote_parent(&scan(&raw))
}

#[test]
fn a_traceparent_by_the_letter() {
    let good = "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let found = parent(good).unwrap();
    assert_eq!(found.ids.span_id, 0xb7ad_6b71_6920_3331);
    assert!(found.sampled);
    assert_eq!(parent(&good.repeat(2)), None, "two of them");
    let bad = [
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ];
    for text in bad {
        assert_eq!(parent(&format!("Traceparent: {text}\r\n")), None, "{text}");
    }
}

#[test]
fn our_traceparent_reads_back() {
    let ids = SpanIds {
        trace_id: 0xabc,
        span_id: 0xdef,
    };
    let field = traceparent(ids, false);
    let found = parent(std::str::from_utf8(&field).unwrap()).unwrap();
    assert_eq!((found.ids, found.sampled), (ids, false));
}

#[test]
fn only_forged_fields_are_cut_out() {
    let raw = Bytes::from(
        "x-postern-verdict: forged\r\n folded\r\nSubject: one\r\nTRACEPARENT: 00\r\n\
         X-Postern-Verdicts: kept\r\nTo: two\r\n\r\nX-Postern-Verdict: body\r\n",
    );
    let kept = stripped(&raw, &scan(&raw), "acme.test").concat();
    assert_eq!(
        String::from_utf8(kept).unwrap(),
        "Subject: one\r\nX-Postern-Verdicts: kept\r\nTo: two\r\n\r\nX-Postern-Verdict: body\r\n"
    );
}

#[test]
fn nothing_is_copied() {
    let raw = Bytes::from("Traceparent: 00\r\nTo: two\r\n\r\nbody");
    let kept = stripped(&raw, &scan(&raw), "acme.test");
    assert_eq!(kept.len(), 1);
    assert!(raw.as_ptr_range().contains(&kept[0].as_ptr()));
}

#[test]
fn a_mark_cannot_smuggle_a_line() {
    assert_eq!(
        mark("X-A", "1\r\nBcc: x"),
        Bytes::from("X-A: 1  Bcc: x\r\n")
    );
}

#[test]
fn protocols_and_date() {
    assert_eq!(protocol(true, true, false), "ESMTPS");
    assert_eq!(protocol(true, false, true), "UTF8SMTP");
    assert_eq!(protocol(false, true, false), "SMTP");
    let stamp = jiff::Timestamp::from_second(0).unwrap();
    assert_eq!(date(stamp), "Thu, 01 Jan 1970 00:00:00 +0000");
}
