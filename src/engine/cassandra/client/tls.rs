//! TLS to a live cluster: certificates as operators have them, in PEM.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, Kind, Result};

/// How to be sure of the nodes, and they of us.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Certificates that the nodes' own must be signed by.
    pub authority: PathBuf,
    /// Our certificate, with those between it and an authority of the nodes, and its key; where nodes ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// A node's certificate need not name the address that it is reached at.
    pub any_name: bool,
}

impl Tls {
    /// The configuration. Errors: files that cannot be read or hold something else.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>> {
        let wrong = |path: &Path, what: String| {
            Error::new(Kind::Usage, path.display(), what).hint("certificates and keys are given in PEM")
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authority)? {
            roots.add(certificate).map_err(|e| wrong(&self.authority, e.to_string()))?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let failed = |e: rustls::Error| Error::new(Kind::Io, "TLS", e);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
        let builder = match self.any_name {
            false => builder.with_root_certificates(roots),
            true => {
                let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let strict = strict.map_err(|e| wrong(&self.authority, e.to_string()))?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName(strict)))
            }
        };
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let read = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, format!("holds no key: {e}")))?;
                builder.with_client_auth_cert(certificates(chain)?, read).map_err(|e| wrong(chain, e.to_string()))?
            }
        };
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |what: String| Error::new(Kind::Usage, path.display(), what).hint("give certificates in PEM");
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(found) if found.is_empty() => Err(wrong("holds no certificate".to_owned())),
        Ok(found) => Ok(found),
        Err(e) => Err(wrong(format!("cannot be read: {e}"))),
    }
}

/// Everything is verified but the name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        // The name is verified last: with this error all else is in order.
        match self.0.verify_server_cert(certificate, between, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
