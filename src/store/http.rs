//! What clients of HTTP have in common.

/// Why no answer will ever come, and what to do: of what went wrong below HTTP most may pass.
pub fn never_passes(broken: &str) -> Option<&'static str> {
    let lower = broken.to_lowercase();
    if lower.contains("corrupt message") || lower.contains("wrong version number") {
        return Some("the server does not speak TLS there: is it http:// in place of https://?");
    }
    lower.contains("certificate").then_some(
        "the server's certificate does not fit: is the host's name right? An authority of one's own is named by SSL_CERT_FILE",
    )
}
