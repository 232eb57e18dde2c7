//! The ARC sets of a message (RFC 8617 §4.1) and whether they form a chain.

use super::Set;
use crate::dkim::{BodyKey, Signature, SignatureKind, Signer};
use crate::message::{Field, Message};
use crate::tags::{TagList, squeeze};

/// RFC 8617 §4.2.1: instances go from 1 to 50.
const MAX_INSTANCE: u32 = 50;

/// The ARC sets of a message, as far as their structure goes.
#[derive(Debug, Clone)]
pub struct Chain(pub(super) Structure);

#[derive(Debug, Clone)]
pub(super) enum Structure {
    /// No ARC field at all.
    Absent,
    /// The chain fails whatever its signatures say.
    Broken(String),
    /// One of each kind for every instance from 1.
    Whole(Vec<Link>),
}

/// One ARC set whose fields were parsed. Positions are among the message's fields.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) set: Set,
    pub(super) results: usize,
    pub(super) message: usize,
    pub(super) seal: usize,
    /// Of the ARC-Message-Signature. An old one that cannot be used only ends the search for the
    /// oldest that passes; the newest must be usable.
    pub(super) signature: Result<Signature, String>,
    /// Without `c=` RFC 6376 §3.5 says simple/simple. RFC 8617's test suite and other sealers mean
    /// relaxed/relaxed, which is tried then, too.
    pub(super) relaxed: Option<Signature>,
    pub(super) sealer: Signer,
}

/// `cv=` of a seal (§4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cv {
    None,
    Pass,
    Fail,
}

/// The fields of one instance, as they are found.
#[derive(Default, Clone)]
struct Slots {
    results: Option<usize>,
    message: Option<usize>,
    seal: Option<usize>,
}

impl Chain {
    /// Groups the ARC fields by instance and checks what needs no key (§5.2, steps 1 to 3).
    #[must_use]
    pub fn parse(message: &Message<'_>) -> Self {
        let structure = match collect(message) {
            Ok(slots) if slots.is_empty() => Structure::Absent,
            Ok(slots) => match links(message, &slots) {
                Ok(links) => Structure::Whole(links),
                Err(problem) => Structure::Broken(problem),
            },
            Err(problem) => Structure::Broken(problem),
        };
        Self(structure)
    }

    /// What has to be hashed of the body, for [`crate::BodyHashes::compute`].
    pub fn body_keys(&self) -> impl Iterator<Item = BodyKey> {
        let links = match &self.0 {
            Structure::Whole(links) => links.as_slice(),
            Structure::Absent | Structure::Broken(_) => &[],
        };
        links
            .iter()
            .flat_map(|link| link.signature.iter().chain(&link.relaxed))
            .map(|signature| signature.body)
    }
}

/// The slots of instances 1 to N, in order; each may still have gaps.
fn collect(message: &Message<'_>) -> Result<Vec<Slots>, String> {
    let mut slots: Vec<Slots> = Vec::new();
    for (at, field) in message.fields().iter().enumerate() {
        let pick: fn(&mut Slots) -> &mut Option<usize> = if field.is("ARC-Seal") {
            |slots| &mut slots.seal
        } else if field.is("ARC-Message-Signature") {
            |slots| &mut slots.message
        } else if field.is("ARC-Authentication-Results") {
            |slots| &mut slots.results
        } else {
            continue;
        };
        let instance = instance(field)
            .ok_or_else(|| format!("{} has no valid i=", String::from_utf8_lossy(field.name)))?;
        if slots.len() < instance {
            slots.resize(instance, Slots::default());
        }
        if let Some(slot) = slots.get_mut(instance - 1).map(pick)
            && slot.replace(at).is_some()
        {
            return Err(format!("instance {instance} has one field twice"));
        }
    }
    Ok(slots)
}

/// `i=` of any of the three fields, 1 to 50.
fn instance(field: &Field<'_>) -> Option<usize> {
    let value = if field.is("ARC-Authentication-Results") {
        split_instance(field.value)?.0
    } else {
        TagList::parse(field.value).ok()?.get("i")?
    };
    let digits = value.len() <= 2 && value.iter().all(u8::is_ascii_digit);
    let number: u32 = std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()?;
    (1..=MAX_INSTANCE)
        .contains(&number)
        .then_some(number as usize)
}

/// §4.1.1: `[CFWS] "i" [CFWS] "=" [CFWS] instance [CFWS] ";" authres-payload`. Comments there are
/// not seen in the wild and not read here.
fn split_instance(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let semicolon = value.iter().position(|octet| *octet == b';')?;
    let (first, rest) = value.split_at_checked(semicolon)?;
    let equals = first.iter().position(|octet| *octet == b'=')?;
    let (name, number) = first.split_at_checked(equals)?;
    name.trim_ascii()
        .eq_ignore_ascii_case(b"i")
        .then_some((number.get(1..)?.trim_ascii(), rest.get(1..)?))
}

fn links(message: &Message<'_>, slots: &[Slots]) -> Result<Vec<Link>, String> {
    let newest = slots.len();
    let mut links = Vec::with_capacity(newest);
    for (at, slot) in slots.iter().enumerate() {
        let instance = at + 1;
        let (Some(results), Some(message_at), Some(seal)) = (slot.results, slot.message, slot.seal)
        else {
            return Err(format!("instance {instance} is not whole"));
        };
        let field = |at: usize| message.fields().get(at).map(|field| field.value);
        let seal_tags = field(seal).and_then(|value| TagList::parse(value).ok());
        let seal_tags = seal_tags.ok_or_else(|| format!("seal {instance} is no tag list"))?;
        let (sealer, cv) =
            read_seal(&seal_tags).map_err(|why| format!("seal {instance}: {why}"))?;
        check_cv(cv, instance)?;
        let tags = field(message_at).and_then(|value| TagList::parse(value).ok());
        let signature = match &tags {
            Some(tags) => {
                Signature::parse(tags, SignatureKind::ArcMessage, 0).map_err(|e| e.to_string())
            }
            None => Err("no tag list".to_owned()),
        };
        let without_c = tags.is_some_and(|tags| tags.get("c").is_none());
        let relaxed = signature
            .iter()
            .filter(|_| without_c)
            .map(Signature::relaxed)
            .next();
        let set = Set {
            instance: u32::try_from(instance).unwrap_or(MAX_INSTANCE),
            sealer: sealer.domain.clone(),
            selector: sealer.selector.clone(),
            results: field(results).and_then(payload).unwrap_or_default(),
        };
        links.push(Link {
            set,
            results,
            message: message_at,
            seal,
            signature,
            relaxed,
            sealer,
        });
    }
    Ok(links)
}

/// The results of an ARC-Authentication-Results field, unfolded.
fn payload(value: &[u8]) -> Option<Box<[u8]>> {
    let (_, payload) = split_instance(value)?;
    let unfolded = payload
        .iter()
        .filter(|octet| !b"\r\n".contains(octet))
        .copied();
    Some(unfolded.collect::<Vec<u8>>().trim_ascii().into())
}

fn read_seal(tags: &TagList<'_>) -> Result<(Signer, Cv), String> {
    // §4.1.3: a seal covers ARC fields only; h= makes it invalid.
    if tags.get("h").is_some() {
        return Err("h= must not be there".to_owned());
    }
    let cv = match tags.get("cv").map(squeeze).as_deref() {
        Some(cv) if cv.eq_ignore_ascii_case(b"none") => Cv::None,
        Some(cv) if cv.eq_ignore_ascii_case(b"pass") => Cv::Pass,
        Some(cv) if cv.eq_ignore_ascii_case(b"fail") => Cv::Fail,
        _ => return Err("cv= is missing or unknown".to_owned()),
    };
    let signer = Signer::parse(tags).map_err(|problem| problem.to_string())?;
    match signer.algorithm {
        crate::dkim::Algorithm::RsaSha1 => Err("rsa-sha1 is not acceptable".to_owned()),
        _ => Ok((signer, cv)),
    }
}

/// §5.2 steps 2 and 3: `fail` anywhere fails; the first says `none`, all others `pass`.
fn check_cv(cv: Cv, instance: usize) -> Result<(), String> {
    match (cv, instance) {
        (Cv::None, 1) => Ok(()),
        (Cv::Pass, 2..) => Ok(()),
        (Cv::Fail, _) => Err(format!("seal {instance} says cv=fail")),
        (Cv::None | Cv::Pass, _) => Err(format!("seal {instance} has the wrong cv=")),
    }
}
