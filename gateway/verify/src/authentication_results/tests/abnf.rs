//! A second reader of the field: RFC 8601 §2.2's grammar as it is printed, run by an interpreter of
//! ABNF (RFC 5234). It shares nothing with the reader and the writer of the crate.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// RFC 8601 §2.2 with what it takes from RFC 5322 §3.2 (without obsolete forms), RFC 2045 §5.1,
/// RFC 5321 §4.1.2, RFC 6376 §3.5, and RFC 6531, 6532 for text beyond ASCII.
const GRAMMAR: &str = r#"
field = "Authentication-Results:" payload
payload = [CFWS] authserv-id [CFWS version] resinfos [CFWS] CRLF
resinfos = no-result / 1*resinfo
authserv-id = value
version = 1*DIGIT [CFWS]
no-result = [CFWS] ";" [CFWS] "none"
resinfo = [CFWS] ";" methodspec [CFWS reasonspec] [CFWS 1*propspec]
methodspec = [CFWS] method [CFWS] "=" [CFWS] result
reasonspec = "reason" [CFWS] "=" [CFWS] reason
reason = value
propspec = ptype [CFWS] "." [CFWS] property [CFWS] "=" [CFWS] pvalue [CFWS]
method = keyword [[CFWS] "/" [CFWS] version]
result = keyword
ptype = keyword
property = keyword
pvalue = value / [[local-part] "@"] domain-name
keyword = *(ALPHA / DIGIT / "-") let-dig
let-dig = ALPHA / DIGIT
value = token / quoted-string
token = 1*(%x21 / %x23-27 / %x2A-2B / %x2D-2E / %x30-39 / %x41-5A / %x5E-7E)
domain-name = sub-domain 1*("." sub-domain)
sub-domain = let-dig [keyword]
local-part = atom *("." atom)
atom = 1*(ALPHA / DIGIT / %x21 / %x23-27 / %x2A-2B / %x2D / %x2F / %x3D / %x3F / %x5E-60 / %x7B-7E / %x80-10FFFF)
quoted-string = %x22 *([FWS] qcontent) [FWS] %x22
qcontent = %x21 / %x23-5B / %x5D-7E / %x80-10FFFF / quoted-pair
quoted-pair = "\" (%x21-7E / WSP / %x80-10FFFF)
CFWS = 1*([FWS] comment) [FWS] / FWS
comment = "(" *([FWS] ccontent) [FWS] ")"
ccontent = %x21-27 / %x2A-5B / %x5D-7E / %x80-10FFFF / quoted-pair / comment
FWS = [*WSP CRLF] 1*WSP
WSP = %x20 / %x09
CRLF = %x0D.0A
ALPHA = %x41-5A / %x61-7A
DIGIT = %x30-39
"#;

/// What a rule says.
#[derive(Debug, Clone)]
enum Says {
    Literal(Vec<char>),
    Range(char, char),
    Rule(String),
    Sequence(Vec<Says>),
    Choice(Vec<Says>),
    AtLeast(usize, Box<Says>),
}

struct Grammar(BTreeMap<String, Says>);

impl Grammar {
    fn read(text: &str) -> Self {
        let rules = text.lines().filter_map(|line| line.split_once(" = "));
        let rule = |(name, says): (&str, &str)| {
            let mut rest: Vec<char> = says.chars().rev().collect();
            let says = choice(&mut rest);
            assert!(rest.is_empty(), "{name}: {rest:?}");
            (name.to_owned(), says)
        };
        Self(rules.map(rule).collect())
    }
}

fn choice(rest: &mut Vec<char>) -> Says {
    let mut choices = vec![sequence(rest)];
    while rest.pop_if(|c| *c == '/').is_some() {
        choices.push(sequence(rest));
    }
    Says::Choice(choices)
}

fn sequence(rest: &mut Vec<char>) -> Says {
    let mut parts = Vec::new();
    loop {
        while rest.pop_if(|c| *c == ' ').is_some() {}
        match rest.last() {
            None | Some('/' | ')' | ']') => return Says::Sequence(parts),
            Some(_) => parts.push(repetition(rest)),
        }
    }
}

fn repetition(rest: &mut Vec<char>) -> Says {
    let least = usize::from(rest.pop_if(|c| *c == '1').is_some());
    if rest.pop_if(|c| *c == '*').is_some() {
        return Says::AtLeast(least, Box::new(element(rest)));
    }
    element(rest)
}

fn element(rest: &mut Vec<char>) -> Says {
    match rest.pop().unwrap() {
        '(' => {
            let says = choice(rest);
            assert_eq!(rest.pop(), Some(')'));
            says
        }
        '[' => {
            let says = choice(rest);
            assert_eq!(rest.pop(), Some(']'));
            Says::Choice(vec![says, Says::Sequence(vec![])])
        }
        '"' => Says::Literal(while_some(rest, |c| c != '"', true).chars().collect()),
        '%' => number(rest),
        first => {
            let more = while_some(rest, |c| c.is_ascii_alphanumeric() || c == '-', false);
            Says::Rule(format!("{first}{more}"))
        }
    }
}

fn number(rest: &mut Vec<char>) -> Says {
    assert_eq!(rest.pop(), Some('x'));
    let text = while_some(rest, |c| c.is_ascii_hexdigit() || "-.".contains(c), false);
    let one = |hex: &str| char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap();
    match text.split_once('-') {
        // RFC 5234 §3.4 with the surrogates left out.
        Some((from, to)) => Says::Range(one(from), one(to)),
        None => Says::Literal(text.split('.').map(one).collect()),
    }
}

fn while_some(rest: &mut Vec<char>, belongs: impl Fn(char) -> bool, take_end: bool) -> String {
    let mut text = String::new();
    while let Some(c) = rest.pop_if(|c| belongs(*c)) {
        text.push(c);
    }
    if take_end {
        rest.pop();
    }
    text
}

/// Where a rule can end if it begins at a place: all of them.
struct Matcher<'a> {
    grammar: &'a Grammar,
    text: &'a [char],
    known: RefCell<HashMap<(&'a str, usize), BTreeSet<usize>>>,
}

impl<'a> Matcher<'a> {
    fn ends(&self, says: &'a Says, at: usize) -> BTreeSet<usize> {
        match says {
            Says::Literal(literal) => {
                let found = self.text.get(at..at + literal.len());
                let same = found.is_some_and(|found| {
                    let pairs = found.iter().zip(literal);
                    pairs.into_iter().all(|(a, b)| a.eq_ignore_ascii_case(b))
                });
                BTreeSet::from_iter(same.then_some(at + literal.len()))
            }
            Says::Range(from, to) => {
                let within = self.text.get(at).is_some_and(|c| (from..=to).contains(&c));
                BTreeSet::from_iter(within.then_some(at + 1))
            }
            Says::Rule(name) => self.rule(name, at),
            Says::Sequence(parts) => self.all(parts, at),
            Says::Choice(choices) => choices.iter().flat_map(|one| self.ends(one, at)).collect(),
            Says::AtLeast(least, one) => {
                let mut found = BTreeSet::from_iter((*least == 0).then_some(at));
                let mut fresh = BTreeSet::from([at]);
                while !fresh.is_empty() {
                    let next = fresh.iter().flat_map(|at| self.ends(one, *at));
                    let next: BTreeSet<usize> = next.collect();
                    fresh = next.difference(&found).copied().collect();
                    found.extend(next);
                }
                found
            }
        }
    }

    fn rule(&self, name: &'a str, at: usize) -> BTreeSet<usize> {
        if let Some(known) = self.known.borrow().get(&(name, at)) {
            return known.clone();
        }
        let ends = self.ends(&self.grammar.0[name], at);
        self.known.borrow_mut().insert((name, at), ends.clone());
        ends
    }

    fn all(&self, parts: &'a [Says], at: usize) -> BTreeSet<usize> {
        parts.iter().fold(BTreeSet::from([at]), |starts, part| {
            starts.iter().flat_map(|at| self.ends(part, *at)).collect()
        })
    }

    /// Reads `at..end` as `says`, which is known to fit, and notes the rules that are wanted.
    fn note(&self, says: &'a Says, (at, end): (usize, usize), noted: &mut Vec<(&'a str, String)>) {
        match says {
            Says::Literal(_) | Says::Range(..) => {}
            Says::Rule(name) => {
                if WANTED.contains(&name.as_str()) {
                    noted.push((name, self.text[at..end].iter().collect()));
                }
                self.note(&self.grammar.0[name], (at, end), noted);
            }
            Says::Choice(choices) => {
                let fits = |one: &&'a Says| self.ends(one, at).contains(&end);
                self.note(choices.iter().find(fits).unwrap(), (at, end), noted);
            }
            Says::Sequence(parts) => {
                let mut at = at;
                for (number, part) in parts.iter().enumerate() {
                    let fits = |mid: &&usize| self.all(&parts[number + 1..], **mid).contains(&end);
                    let ends = self.ends(part, at);
                    let mid = *ends.iter().rev().find(fits).unwrap();
                    self.note(part, (at, mid), noted);
                    at = mid;
                }
            }
            Says::AtLeast(_, one) => {
                let mut at = at;
                while at < end {
                    let fits = |mid: &&usize| {
                        **mid > at && (**mid == end || self.ends(says, **mid).contains(&end))
                    };
                    let mid = *self.ends(one, at).iter().rev().find(fits).unwrap();
                    self.note(one, (at, mid), noted);
                    at = mid;
                }
            }
        }
    }
}

const WANTED: [&str; 7] = [
    "authserv-id",
    "method",
    "result",
    "reason",
    "ptype",
    "property",
    "pvalue",
];

/// The parts of a field in their order, each with the rule that it is, values unquoted; none if it
/// does not fit the grammar.
pub(super) fn read(field: &str) -> Option<Vec<(String, String)>> {
    let grammar = Grammar::read(GRAMMAR);
    let text: Vec<char> = field.chars().collect();
    let matcher = Matcher {
        grammar: &grammar,
        text: &text,
        known: RefCell::default(),
    };
    let field = Says::Rule("field".to_owned());
    if !matcher.ends(&field, 0).contains(&text.len()) {
        return None;
    }
    let mut noted = Vec::new();
    matcher.note(&field, (0, text.len()), &mut noted);
    let noted = noted.into_iter();
    Some(
        noted
            .map(|(rule, text)| (rule.to_owned(), unquoted(&text)))
            .collect(),
    )
}

fn unquoted(text: &str) -> String {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let Some(inner) = inner else {
        return text.to_owned();
    };
    let mut escaped = false;
    inner
        .chars()
        .filter(|c| {
            escaped = *c == '\\' && !escaped;
            !escaped
        })
        .collect()
}

#[test]
fn the_examples_of_the_rfc() {
    // RFC 8601 appendix B.2, B.3, B.5, B.6.
    for field in [
        "Authentication-Results: example.org 1; none\r\n",
        "Authentication-Results: example.com;\r\n          spf=pass smtp.mailfrom=example.net\r\n",
        "Authentication-Results: example.com;\r\n      sender-id=fail header.from=example.com;\r\n      \
         dkim=pass (good signature) header.d=example.com\r\n",
        "Authentication-Results: example.com;\r\n          dkim=pass reason=\"good signature\"\r\n   \
                 header.i=@mail-router.example.net;\r\n          dkim=fail reason=\"bad signature\"\r\n   \
                 header.i=@newyork.example.com\r\n",
        "Authentication-Results: foo.example.net (foobar) 1 (baz);\r\n    dkim (Because I like it) / 1 \
         (One yay) = (wait for it) fail\r\n      policy (A dot can go here) . (like that) expired\r\n  \
             (this surprised me) = (as I wasn't expecting it) 1362471462\r\n",
    ] {
        assert!(read(field).is_some(), "{field}");
    }
    for field in [
        "Authentication-Results: example.org\r\n",
        "Authentication-Results: example.org; spf\r\n",
        "Authentication-Results: example.org; spf=pass; none\r\n",
        "Authentication-Results: example.org; spf=pass smtp.mailfrom=a@localhost\r\n",
        "Authentication-Results: example.org; dkim=pass header.b=a/b\r\n",
        "Authentication-Results: example.org; spf=pass (open\r\n",
        "Authentication-Results: example.org; spf=pass\r\n\r\n",
    ] {
        assert_eq!(read(field), None, "{field}");
    }
}
