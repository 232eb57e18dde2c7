//! What users write in these tests.

use postern_tests::cluster::ControlPlane;

/// A gateway with a certificate from a Secret, a route to a Service, and a policy on the gateway.
pub(crate) const EDGE: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {name: edge, namespace: NS}
spec:
  className: CLASS
  hostname: mx1.acme.test
  listeners:
  - name: mx
    port: 25
    protocol: SMTP
    tls: {mode: Opportunistic, certificateRefs: [{name: mx1-tls}]}
---
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {name: acme, namespace: NS}
spec:
  parentRefs: [{name: edge}]
  recipients: [acme.test]
  rules:
  - name: default
    backends: [{service: {name: mailstore, port: 24}, protocol: LMTP}]
---
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {name: guard, namespace: NS}
spec:
  targetRefs: [{kind: MailGateway, name: edge}]
  defaults: {access: {clients: {deny: [192.0.2.0/24]}}}
---
apiVersion: v1
kind: Service
metadata: {name: mailstore, namespace: NS}
spec: {ports: [{name: lmtp, port: 24}]}
";

/// A gateway that generates its certificate.
pub(crate) const SELF_SIGNED: &str = "
apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {name: edge, namespace: NS}
spec:
  className: CLASS
  hostname: mx1.acme.test
  listeners:
  - {name: mx, port: 25, protocol: SMTP, tls: {mode: Opportunistic, selfSigned: {}}}
";

/// A Secret of type kubernetes.io/tls for a host name.
pub(crate) fn tls_secret(namespace: &str, name: &str, host: &str) -> String {
    let pair = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let data = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": pair.cert.pem(), "tls.key": pair.signing_key.serialize_pem()},
    });
    data.to_string()
}

/// Applies such a Secret.
pub(crate) async fn apply_tls_secret(cluster: &ControlPlane, namespace: &str, name: &str) {
    cluster
        .apply(&tls_secret(namespace, name, "mx1.acme.test"))
        .await;
}
