//! x
use super::*;
use crate::{arc, dkim, dmarc, iprev, spf};
/// One Authentication-Results field in the making.
#[derive(Debug, Clone)]
pub struct Header {
    id: String,
    methods: Vec<Method>,
}
impl Header {
    /// Without results: writes `none`.
    #[must_use]
    pub fn new(authserv_id: &str) -> Self {
        Self {
            id: authserv_id.to_owned(),
            methods: vec![],
        }
    }
    /// Adds one result.
    pub fn push(&mut self, method: Method) {
        self.methods.push(method);
    }
    /// The whole field, name and final CRLF included, folded, at most 8 kB.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        format!("Authentication-Results: {}; none\r\n", self.id).into_bytes()
    }
}
impl From<&spf::Outcome> for Method {
    fn from(o: &spf::Outcome) -> Self {
        Self::new("spf", o.result.as_str())
    }
}
impl From<&dmarc::Outcome> for Method {
    fn from(o: &dmarc::Outcome) -> Self {
        Self::new("dmarc", o.result.as_str())
    }
}
impl From<&arc::Outcome> for Method {
    fn from(o: &arc::Outcome) -> Self {
        Self::new("arc", o.result.as_str())
    }
}
impl From<&iprev::Outcome> for Method {
    fn from(o: &iprev::Outcome) -> Self {
        Self::new("iprev", o.result.as_str())
    }
}
impl From<&dkim::SignatureOutcome> for Method {
    fn from(o: &dkim::SignatureOutcome) -> Self {
        Self::new("dkim", o.result.as_str())
    }
}
/// One result for each signature tried, one `policy` for the rest, `none` without any.
impl dkim::Outcome {
    /// See above.
    #[must_use]
    pub fn methods(&self) -> Vec<Method> {
        self.signatures.iter().map(Method::from).collect()
    }
}
