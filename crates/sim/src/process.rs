//! What another process has used: CPU time and memory, read from `/proc`.

use std::time::Duration;

use anyhow::Context as _;

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident set.
    pub rss: u64,
    /// Resident set with shared pages counted in proportion; equal to `rss` where the kernel does not tell.
    pub pss: u64,
}

/// User and system time of all threads of `pid`, ended ones included; children are not.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("reading the process's times")?;
    let ticks = cpu_ticks(&text).context("/proc/PID/stat has another shape")?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / per_second.max(1))))
}

/// Resident memory of `pid`.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading the process's memory")?;
    let rss = kib_line(&status, "VmRSS:").context("/proc/PID/status has no VmRSS")?;
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    Ok(Memory { rss, pss: kib_line(&rollup, "Pss:").unwrap_or(rss) })
}

/// Fields 14 and 15 of `/proc/PID/stat`, counted behind the name, which may itself hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kib_line(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_the_name() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 3 0 100 1000 10";
        assert_eq!(cpu_ticks(stat), Some(12));
        assert_eq!(cpu_ticks("42 (a"), None);
    }

    #[test]
    fn memory_lines() {
        assert_eq!(kib_line("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12_288));
        assert_eq!(kib_line("VmRSS:\t12\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_both() {
        let pid = std::process::id();
        assert!(memory(pid).is_ok_and(|memory| memory.rss > 0 && memory.pss > 0));
        assert!(cpu_time(pid).is_ok());
    }
}
