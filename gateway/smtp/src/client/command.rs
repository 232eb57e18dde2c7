//! Commands as octets (RFC 5321 §4.1.1).

use super::extensions::{Extensions, SizeLimit};
use super::{Protocol, Stage};
use crate::address::{Mailbox, ReversePath};
use std::io::Write;

/// An address cannot be said without SMTPUTF8, which the backend does not offer (RFC 6531 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is not ASCII and the backend does not offer SMTPUTF8")]
pub struct NeedsSmtpUtf8;

/// What MAIL says (RFC 5321 §4.1.1.2).
#[derive(Debug, Clone, Copy)]
pub struct Mail<'m> {
    /// The reverse-path.
    pub reverse_path: &'m ReversePath,
    /// `SIZE=` in octets, said where the backend offers it (RFC 1870 §6.1).
    pub size: Option<u64>,
    /// `BODY=8BITMIME`, said where the backend offers it; whether the message may go without is
    /// the caller's decision.
    pub eight_bit_mime: bool,
    /// `SMTPUTF8`, likewise.
    pub smtputf8: bool,
}

/// `EHLO name`, `LHLO name`.
pub(super) fn hello(protocol: Protocol, name: &str) -> Vec<u8> {
    let verb = match protocol {
        Protocol::Smtp => "EHLO",
        Protocol::Lmtp => "LHLO",
    };
    format!("{verb} {name}\r\n").into_bytes()
}

/// `MAIL FROM:<...>` with the parameters that the backend offers.
pub(super) fn mail(
    out: &mut Vec<u8>,
    mail: &Mail<'_>,
    offered: &Extensions,
) -> Result<(), NeedsSmtpUtf8> {
    let utf8 = mail.smtputf8 && offered.smtputf8;
    out.extend_from_slice(b"MAIL FROM:<");
    if let ReversePath::Mailbox(mailbox) = mail.reverse_path {
        path(out, mailbox, utf8)?;
    }
    out.push(b'>');
    if let Some(size) = mail.size.filter(|_| offered.size != SizeLimit::NotOffered) {
        append(out, format_args!(" SIZE={size}"));
    }
    if mail.eight_bit_mime && offered.eight_bit_mime {
        out.extend_from_slice(b" BODY=8BITMIME");
    }
    if utf8 {
        out.extend_from_slice(b" SMTPUTF8");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// `RCPT TO:<...>`.
pub(super) fn rcpt(
    out: &mut Vec<u8>,
    recipient: &Mailbox,
    utf8: bool,
) -> Result<(), NeedsSmtpUtf8> {
    out.extend_from_slice(b"RCPT TO:<");
    path(out, recipient, utf8)?;
    out.extend_from_slice(b">\r\n");
    Ok(())
}

/// The mailbox as it came; without SMTPUTF8 its domain as A-labels (RFC 6531 §3.2).
fn path(out: &mut Vec<u8>, mailbox: &Mailbox, utf8: bool) -> Result<(), NeedsSmtpUtf8> {
    if utf8 || mailbox.is_ascii() {
        append(out, format_args!("{mailbox}"));
        return Ok(());
    }
    let ascii = mailbox.to_ascii().ok_or(NeedsSmtpUtf8)?;
    out.extend_from_slice(ascii.as_bytes());
    Ok(())
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(text);
}

/// The command of a stage that takes no argument.
pub(super) const fn plain(stage: Stage) -> &'static [u8] {
    match stage {
        Stage::StartTls => b"STARTTLS\r\n",
        Stage::Data => b"DATA\r\n",
        _ => b"RSET\r\n",
    }
}
