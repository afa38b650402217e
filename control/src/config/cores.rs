//! CPU cores: lists of them, and which there are.

/// Cores are numbered below this; bounds what a range may expand to.
const MOST: usize = 4096;

/// Reads a list of cores such as `1-3,5`, in the order written.
///
/// # Errors
/// A sentence saying what is wrong and what to write.
pub(super) fn parse(text: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("{text:?} is not a list of cores; write cores and ranges, such as \"1-3,5\"");
    let core = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|&core: &usize| core < MOST)
            .ok_or_else(wrong)
    };
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (core(first)?, core(last)?),
            None => (core(part)?, core(part)?),
        };
        if first > last {
            return Err(wrong());
        }
        for core in first..=last {
            if cores.contains(&core) {
                return Err(format!("{text:?} names core {core} twice; write it once"));
            }
            cores.push(core);
        }
    }
    Ok(cores)
}

/// The cores this process may run on; empty if the system does not say.
pub(super) fn available() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.and_then(|list| parse(list.trim()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse("3"), Ok(vec![3]));
        assert_eq!(parse("1-3, 5,0"), Ok(vec![1, 2, 3, 5, 0]));
        for text in ["", "a", "3-1", "1-", "1,,2", "0-99999", "1-3,2"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
