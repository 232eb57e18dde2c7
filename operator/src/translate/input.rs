//! The objects of a world, judged one by one before anything is made of them.
//!
//! In goes a [`World`]; out come our gateways, all routes and all policies, each either valid or
//! with what is wrong. An invalid object gets a status and takes part in nothing else.

use super::status::{Problem, reason};
use crate::world::{Object, ObjectKey, World};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_crds::validate::{self, FieldError};
use postern_crds::{MailGateway, MailPolicy, MailRoute};
use std::collections::{BTreeMap, BTreeSet};

/// An object and what was found in it.
pub(super) struct Judged<'w, K> {
    pub(super) key: ObjectKey,
    pub(super) metadata: &'w ObjectMeta,
    /// `metadata.generation`; 0 in files.
    pub(super) generation: i64,
    pub(super) object: Result<&'w K, Problem>,
}

/// Who came first: the creation time, then namespace and name. An object without a time (in a
/// file) is younger than all that have one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seniority<'a> {
    has_no_time: bool,
    created: Option<Timestamp>,
    key: &'a ObjectKey,
}

impl<'w, K> Judged<'w, K> {
    fn new(
        key: &ObjectKey,
        object: &'w Object<K>,
        check: impl Fn(&K) -> Result<(), Vec<FieldError>>,
    ) -> Self
    where
        K: kube::Resource,
    {
        let metadata = object.metadata();
        let object = match object {
            Object::Malformed { reason, .. } => Err(vec![reason.clone()]),
            Object::Read(object) => check(object)
                .map(|()| object.as_ref())
                .map_err(|errors| errors.iter().map(ToString::to_string).collect()),
        };
        let invalid = |messages: Vec<String>| {
            Problem::new(
                reason::INVALID,
                super::status::join(messages.iter().map(String::as_str)),
            )
        };
        Self {
            key: key.clone(),
            metadata,
            generation: metadata.generation.unwrap_or_default(),
            object: object.map_err(invalid),
        }
    }

    pub(super) fn seniority(&self) -> Seniority<'_> {
        let created = self.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Seniority {
            has_no_time: created.is_none(),
            created,
            key: &self.key,
        }
    }
}

/// The judged world.
pub(super) struct Input<'w> {
    pub(super) world: &'w World,
    /// MailGateways of our class, in order of their names.
    pub(super) gateways: Vec<Judged<'w, MailGateway>>,
    /// MailGateways of other classes.
    pub(super) foreign: BTreeSet<&'w ObjectKey>,
    /// All MailRoutes, the oldest first: an index is a rank.
    pub(super) routes: Vec<Judged<'w, MailRoute>>,
    /// All MailPolicies, the oldest first.
    pub(super) policies: Vec<Judged<'w, MailPolicy>>,
    /// For each MailGateway the routes that name it, as (index in `routes`, index in `parentRefs`).
    pub(super) referring: BTreeMap<ObjectKey, Vec<(usize, usize)>>,
}

impl<'w> Input<'w> {
    pub(super) fn read(world: &'w World) -> Self {
        let is_ours = |object: &Object<MailGateway>| class_of(object) == world.class_name;
        let gateways = world.gateways.iter().filter(|(_, object)| is_ours(object));
        let gateways = gateways
            .map(|(key, object)| Judged::new(key, object, |g| validate::mail_gateway(&g.spec)));
        let foreign = world.gateways.iter().filter(|(_, object)| !is_ours(object));
        let routes = world.routes.iter();
        let routes =
            routes.map(|(key, object)| Judged::new(key, object, |r| validate::mail_route(&r.spec)));
        let policies = world.policies.iter();
        let policies = policies
            .map(|(key, object)| Judged::new(key, object, |p| validate::mail_policy(&p.spec)));
        let routes = oldest_first(routes.collect());
        Self {
            world,
            gateways: gateways.collect(),
            foreign: foreign.map(|(key, _)| key).collect(),
            referring: referring(&routes),
            routes,
            policies: oldest_first(policies.collect()),
        }
    }

    /// Whether there is a MailGateway of that name, of whatever class.
    pub(super) fn has_gateway(&self, key: &ObjectKey) -> bool {
        self.world.gateways.contains_key(key)
    }
}

/// A malformed gateway whose class cannot be read is the default class's.
fn class_of(object: &Object<MailGateway>) -> &str {
    match object {
        Object::Read(gateway) => &gateway.spec.class_name,
        Object::Malformed { spec, .. } => spec
            .get("className")
            .and_then(serde_json::Value::as_str)
            .unwrap_or(postern_crds::defaults::CLASS_NAME),
    }
}

fn oldest_first<K>(mut objects: Vec<Judged<'_, K>>) -> Vec<Judged<'_, K>> {
    objects.sort_by(|a, b| a.seniority().cmp(&b.seniority()));
    objects
}

fn referring(routes: &[Judged<'_, MailRoute>]) -> BTreeMap<ObjectKey, Vec<(usize, usize)>> {
    let mut referring: BTreeMap<ObjectKey, Vec<(usize, usize)>> = BTreeMap::new();
    for (index, route) in routes.iter().enumerate() {
        let Ok(object) = route.object else { continue };
        for (parent, reference) in object.spec.parent_refs.iter().enumerate() {
            let namespace = reference.namespace_or(&route.key.namespace);
            let gateway = ObjectKey::new(namespace, &reference.name);
            referring.entry(gateway).or_default().push((index, parent));
        }
    }
    referring
}
