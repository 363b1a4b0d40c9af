//! Progress with an estimate of the time left, on a terminal only; and the signals that end long work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::output::Output;
use crate::error::{Error, Result};
use crate::watch::Watch;

const STYLE: &str = "{msg} {bar:30} {percent:>3}%  {bytes} of {total_bytes}  {binary_bytes_per_sec}  {eta} left";
/// Where nobody knows how much there is, or there is more than was thought.
const WITHOUT_END: &str = "{msg} {spinner}  {bytes}  {binary_bytes_per_sec}  {elapsed}";

/// Shows a watch until dropped.
pub struct Progress {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts showing `watch` if somebody looks, and makes SIGINT, SIGTERM and SIGHUP end the work at its next safe place.
    pub fn start(watch: &Arc<Watch>, what: &'static str, shown: bool, output: &Output) -> Result<Progress> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| *signal != SIGHUP || !is_ignored(SIGHUP)) {
            // The second signal ends the process at once.
            let exit = signal_hook::flag::register_conditional_shutdown(signal, 130, interrupted.clone());
            exit.and_then(|_| signal_hook::flag::register(signal, interrupted.clone()))
                .map_err(|e| Error::io("signals", e))?;
        }
        let bar = (shown && output.is_watched()).then(|| ProgressBar::new(0).with_message(what));
        let done = Arc::new(AtomicBool::new(false));
        let (watch, ended) = (watch.clone(), done.clone());
        let show = move || {
            let mut shown = "";
            while !ended.load(Ordering::Relaxed) {
                if interrupted.load(Ordering::Relaxed) {
                    watch.interrupt();
                }
                if let Some(bar) = &bar {
                    let (total, done) = (&watch.bytes_total, &watch.bytes_done);
                    let (total, done) = (total.load(Ordering::Relaxed), done.load(Ordering::Relaxed));
                    let meant = if total > 0 && done <= total { STYLE } else { WITHOUT_END };
                    if meant != shown
                        && let Ok(style) = ProgressStyle::with_template(meant)
                    {
                        bar.set_style(style);
                        shown = meant;
                    }
                    bar.set_length(total);
                    bar.set_position(done);
                }
                thread::park_timeout(Duration::from_millis(200));
            }
            if let Some(bar) = &bar {
                bar.finish_and_clear();
            }
        };
        let thread = thread::Builder::new().name("progress".into()).spawn(show);
        Ok(Progress { done, thread: Some(thread.map_err(|e| Error::io("starting a thread", e))?) })
    }
}

/// Whether we were started with this signal ignored, as `nohup` does.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A thread that only draws has nothing to report.
            let _ = thread.join();
        }
    }
}
