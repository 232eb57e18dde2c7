//! The chart on a real API server: its rendering is taken, and its RBAC grants what the operator
//! needs, where the chart's values say it may, and no more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use postern_tests::cluster::ControlPlane;
use postern_tests::program::run;
use postern_tests::tools::repository;
use serde_json::Value;

/// `helm template`, as YAML documents.
async fn render(cluster: &ControlPlane, release: &str, namespace: &str, set: &[&str]) -> String {
    let mut helm = cluster.helm();
    helm.args(["template", release, "--namespace", namespace])
        .arg(repository().join("charts/postern"));
    for value in set {
        helm.args(["--set", value]);
    }
    run(helm).await
}

fn documents(rendering: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(rendering).unwrap();
    documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect()
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents
        .iter()
        .filter(|document| document["kind"] == kind)
        .collect()
}

#[tokio::test]
async fn the_rendering_is_taken_without_a_warning() {
    let cluster = ControlPlane::shared().await;
    let namespace = cluster.namespace("taken").await;
    for set in [
        &[][..],
        &[
            "gatewayNamespaces={*}",
            "secretNamespaces={*}",
            "crds.keep=false",
        ],
    ] {
        let file = cluster.folder().join(format!("taken-{}.yaml", set.len()));
        std::fs::write(&file, render(cluster, "postern", &namespace, set).await).unwrap();
        let mut kubectl = cluster.kubectl();
        kubectl.args([
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
        ]);
        kubectl.args(["--validate=strict", "--filename"]).arg(&file);
        let output = kubectl.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}

#[tokio::test]
async fn there_are_three_cluster_roles_and_none_can_widen_itself() {
    let cluster = ControlPlane::shared().await;
    let documents = documents(&render(cluster, "postern", "here", &[]).await);
    let roles = of_kind(&documents, "ClusterRole");
    let names: Vec<_> = roles
        .iter()
        .map(|role| role["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["postern-api", "postern-secrets", "postern-infra"]);
    for role in roles.into_iter().chain(of_kind(&documents, "Role")) {
        for rule in role["rules"].as_array().unwrap() {
            let text = rule.to_string();
            for word in ["\"*\"", "\"bind\"", "\"escalate\"", "\"impersonate\""] {
                assert!(!text.contains(word), "{word} in {text}");
            }
        }
    }
}

#[tokio::test]
async fn the_default_binds_nothing_beyond_the_own_namespace_but_the_api() {
    let cluster = ControlPlane::shared().await;
    let bound = |documents: &[Value]| -> Vec<String> {
        let everywhere = of_kind(documents, "ClusterRoleBinding");
        let bindings = everywhere
            .into_iter()
            .chain(of_kind(documents, "RoleBinding"));
        let shown = bindings.map(|binding| {
            let namespace = binding["metadata"]["namespace"].as_str().unwrap_or("*");
            format!(
                "{} {namespace}",
                binding["roleRef"]["name"].as_str().unwrap()
            )
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort();
        shown
    };
    let default = documents(&render(cluster, "postern", "here", &[]).await);
    assert_eq!(
        bound(&default),
        [
            "postern-api *",
            "postern-infra here",
            "postern-leases here",
            "postern-secrets here"
        ]
    );
    let set = ["gatewayNamespaces={a,b}", "secretNamespaces={*}"];
    let wider = documents(&render(cluster, "postern", "here", &set).await);
    assert_eq!(
        bound(&wider),
        [
            "postern-api *",
            "postern-infra a",
            "postern-infra b",
            "postern-leases here",
            "postern-secrets *"
        ]
    );
}

/// Asks the API server whether the ServiceAccount `postern` of `home` may do something.
struct Account<'a> {
    reviews: Api<SubjectAccessReview>,
    home: &'a str,
}

impl Account<'_> {
    /// `verb resource.group/subresource`, in a namespace or in all of them.
    async fn may(&self, what: &str, namespace: Option<&str>) -> bool {
        let (verb, resource) = what.split_once(' ').unwrap();
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        self.review(SubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: Some(subresource.to_owned()),
                namespace: namespace.map(str::to_owned),
                ..Default::default()
            }),
            ..Default::default()
        })
        .await
    }

    async fn may_get(&self, path: &str) -> bool {
        self.review(SubjectAccessReviewSpec {
            non_resource_attributes: Some(NonResourceAttributes {
                verb: Some("get".to_owned()),
                path: Some(path.to_owned()),
            }),
            ..Default::default()
        })
        .await
    }

    async fn review(&self, spec: SubjectAccessReviewSpec) -> bool {
        let user = Some(format!("system:serviceaccount:{}:postern", self.home));
        // Every ServiceAccount is in these; a forgotten one would make the test laxer than life.
        let groups = ["system:serviceaccounts", "system:authenticated"].map(str::to_owned);
        let spec = SubjectAccessReviewSpec {
            user,
            groups: Some(groups.into()),
            ..spec
        };
        let review = SubjectAccessReview {
            spec,
            ..Default::default()
        };
        let answer = self
            .reviews
            .create(&PostParams::default(), &review)
            .await
            .unwrap();
        answer.status.unwrap().allowed
    }
}

/// Its kinds and what they refer to, and no Secret.
const EVERYWHERE: &[&str] = &[
    "watch mailgateways.postern.dev",
    "patch mailroutes.postern.dev/status",
    "update mailpolicies.postern.dev/status",
    "list namespaces",
    "watch services",
    "watch configmaps",
    "watch endpointslices.discovery.k8s.io",
    "watch referencegrants.gateway.networking.k8s.io",
    "create events.events.k8s.io",
];

/// What it may do at most where it was bound.
const NOT_EVERYWHERE: &[&str] = &[
    "get secrets",
    "update mailgateways.postern.dev",
    "patch mailroutes.postern.dev",
    "create configmaps",
    "create deployments.apps",
    "create pods",
];

/// What a gateway is made of, and every verb that its pods get.
const IN_GATEWAY_NAMESPACES: &[&str] = &[
    "patch deployments.apps",
    "delete services",
    "patch configmaps",
    "watch configmaps",
    "patch secrets",
    "create roles.rbac.authorization.k8s.io",
    "create rolebindings.rbac.authorization.k8s.io",
    "patch poddisruptionbudgets.policy",
    "patch networkpolicies.networking.k8s.io",
    "watch pods",
    "update mailgateways.postern.dev/finalizers",
];

/// What would widen its own rights.
const NEVER: &[&str] = &[
    "bind roles.rbac.authorization.k8s.io",
    "escalate roles.rbac.authorization.k8s.io",
    "create pods",
    "create pods/exec",
    "create serviceaccounts/token",
];

#[tokio::test]
async fn the_operator_may_do_what_it_must_and_no_more() {
    let cluster = ControlPlane::start().await;
    let home = cluster.namespace("home").await;
    let gateways = cluster.namespace("gateways").await;
    let other = cluster.namespace("other").await;
    let set = format!("gatewayNamespaces={{{gateways}}}");
    cluster
        .apply(&render(&cluster, "postern", &home, &[&set]).await)
        .await;
    let account = Account {
        reviews: Api::all(cluster.client().await),
        home: &home,
    };

    for what in EVERYWHERE {
        assert!(account.may(what, None).await, "cannot {what}");
    }
    for what in NOT_EVERYWHERE {
        assert!(!account.may(what, None).await, "can {what} everywhere");
        assert!(
            !account.may(what, Some(&other)).await,
            "can {what} in a namespace that is not bound"
        );
    }
    assert!(!account.may("get secrets", Some("kube-system")).await);
    assert!(account.may_get("/openid/v1/jwks").await);

    for what in IN_GATEWAY_NAMESPACES {
        assert!(account.may(what, Some(&gateways)).await, "cannot {what}");
        assert!(
            !account.may(what, Some(&other)).await || *what == "watch configmaps",
            "can {what} elsewhere"
        );
    }
    for what in NEVER {
        assert!(!account.may(what, Some(&gateways)).await, "can {what}");
    }

    // At home: its Lease, and the Secrets of the default secretNamespaces.
    assert!(
        account
            .may("patch leases.coordination.k8s.io", Some(&home))
            .await
    );
    assert!(
        !account
            .may("patch leases.coordination.k8s.io", Some(&gateways))
            .await
    );
    assert!(account.may("list secrets", Some(&home)).await);
    assert!(!account.may("patch secrets", Some(&home)).await);
}
