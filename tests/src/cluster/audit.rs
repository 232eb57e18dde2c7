//! Who wrote what: the API server's audit log, read as [`Write`]s.
//!
//! In: the log file, one JSON event a line, written before the request is answered.
//! Out: the writes after a [`Mark`], by user, so that a test can count them.

use std::fs;
use std::path::Path;

use serde::Deserialize;

/// Reads are not logged for the control plane's own users, and writes of everybody are.
pub(super) const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:apiserver", "system:kube-controller-manager"]
  verbs: [get, list, watch]
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
  verbs: [get, list, watch]
- level: Metadata
"#;

/// A place in the audit log, given by [`super::ControlPlane::mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub(super) usize);

/// One request to the API server that asks for a change, whether or not it was granted
/// and whether or not it changed anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Who: `system:serviceaccount:mail:postern`, or a certificate's CN. The
    /// impersonated user where there is one.
    pub user: String,
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The plural resource with its subresource: `mailgateways/status`.
    pub resource: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The object's namespace; empty when it has none.
    pub namespace: String,
    /// The object's name; empty for `deletecollection`.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

/// The fields of an `audit.k8s.io/v1` Event that are read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    object_ref: ObjectRef,
    response_status: Option<ResponseStatus>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    api_group: String,
    namespace: String,
    name: String,
}

/// The log's length in bytes, up to its last whole line.
pub(super) fn length(log: &Path) -> usize {
    whole_lines(&fs::read(log).unwrap_or_default())
}

/// Whether the log has an event after `mark` whose URI contains `uri`.
pub(super) fn has_request(log: &Path, mark: Mark, uri: &str) -> bool {
    events(log, mark)
        .iter()
        .any(|event| event.request_uri.contains(uri))
}

/// The writes after `mark`, dry runs left out.
pub(super) fn writes(log: &Path, mark: Mark) -> Vec<Write> {
    events(log, mark).into_iter().filter_map(write).collect()
}

fn events(log: &Path, mark: Mark) -> Vec<Event> {
    let bytes = fs::read(log).unwrap_or_default();
    bytes[mark.0..whole_lines(&bytes)]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("an audit event on each line"))
        .collect()
}

/// The last line may be on its way still.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1)
}

fn write(event: Event) -> Option<Write> {
    let asks_for_a_change = matches!(
        event.verb.as_str(),
        "create" | "update" | "patch" | "delete" | "deletecollection"
    );
    let dry_run = event.request_uri.contains("dryRun=All");
    if !asks_for_a_change || dry_run || event.stage != "ResponseComplete" {
        return None;
    }
    let ObjectRef {
        resource,
        subresource,
        api_group,
        namespace,
        name,
    } = event.object_ref;
    Some(Write {
        user: event.impersonated_user.unwrap_or(event.user).username,
        verb: event.verb,
        resource: match subresource.as_str() {
            "" => resource,
            _ => format!("{resource}/{subresource}"),
        },
        group: api_group,
        namespace,
        name,
        code: event.response_status.map_or(0, |status| status.code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"stage":"ResponseComplete","verb":"list","requestURI":"/api/v1/pods","user":{"username":"a"},"objectRef":{"resource":"pods"}}
{"stage":"ResponseComplete","verb":"patch","requestURI":"/apis/postern.dev/v1alpha1/namespaces/mail/mailgateways/edge/status","user":{"username":"a"},"objectRef":{"resource":"mailgateways","subresource":"status","apiGroup":"postern.dev","namespace":"mail","name":"edge"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","verb":"create","requestURI":"/api/v1/namespaces/mail/secrets?dryRun=All","user":{"username":"a"},"objectRef":{"resource":"secrets"},"responseStatus":{"code":201}}
{"stage":"ResponseComplete","verb":"delete","requestURI":"/api/v1/namespaces/mail/secrets/x","user":{"username":"a"},"impersonatedUser":{"username":"b"},"objectRef":{"resource":"secrets","namespace":"mail","name":"x"},"responseStatus":{"code":403}}
{"stage":"Respo"#;

    #[test]
    fn only_whole_lines_that_ask_for_a_change_count() {
        let log = tempfile::NamedTempFile::new().unwrap();
        fs::write(log.path(), LINES).unwrap();
        let seen: Vec<(String, String, u16)> = writes(log.path(), Mark(0))
            .into_iter()
            .map(|write| (write.user, write.resource, write.code))
            .collect();
        assert_eq!(
            seen,
            [
                ("a".to_owned(), "mailgateways/status".to_owned(), 200),
                ("b".to_owned(), "secrets".to_owned(), 403),
            ]
        );
        assert!(has_request(log.path(), Mark(0), "/api/v1/pods"));
        assert!(writes(log.path(), Mark(length(log.path()))).is_empty());
    }
}
