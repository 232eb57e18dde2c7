//! The control plane's certificate authority and the files that its programs read.
//!
//! In: the folder to write to. Out: PEM files, and client certificates for any user,
//! whose groups are the certificate's organisations (Kubernetes X.509 client
//! authentication).

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, SanType,
};

/// The certificate authority of one control plane.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its private key, both PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "postern-tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    /// The authority's own certificate, PEM.
    pub(super) fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A client certificate; Kubernetes reads the user from CN and the groups from O.
    pub(super) fn client(&self, user: &str, groups: &[&str]) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        for group in groups {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// The API server's certificate, for every name by which it is reached.
    fn server(&self) -> Pair {
        let names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
        ];
        let mut params = CertificateParams::new(names.map(str::to_owned)).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        for address in [Ipv4Addr::LOCALHOST, super::SERVICE_ADDRESS] {
            params
                .subject_alt_names
                .push(SanType::IpAddress(IpAddr::V4(address)));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Pair {
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// The files that the programs are started with.
pub(super) struct Files {
    pub(super) authority: PathBuf,
    pub(super) server: PathBuf,
    pub(super) server_key: PathBuf,
    /// Signs and verifies ServiceAccount tokens; RSA, as clusters have it.
    pub(super) service_account_key: PathBuf,
}

impl Files {
    pub(super) fn write(authority: &Authority, folder: &Path) -> Self {
        let write = |name: &str, content: String| {
            let path = folder.join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let server = authority.server();
        let service_account_key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        Self {
            authority: write("ca.crt", authority.certificate()),
            server: write("apiserver.crt", server.certificate),
            server_key: write("apiserver.key", server.key),
            service_account_key: write("service-accounts.key", service_account_key.serialize_pem()),
        }
    }
}
