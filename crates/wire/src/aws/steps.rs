//! Documents of jobs that are a list of steps, as AWS's IoT Device Client reads them (its source, `jobs/JobDocument.cpp`).
//!
//! Both of its forms are read: `version` 1.0 with `steps` and `finalStep`, and the older one of a single `operation`. Truths
//! may be texts, as that client wants them. `timeoutSeconds` of an action is our own; other readers pass over it. Whether a
//! step may run is the reader's affair.

use fleetward_base::limits;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is to be done, one after the other; it ends with the first that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Never empty. The last one may be the document's `finalStep`: it too begins only where all before it succeeded.
    pub steps: Vec<Action>,
    /// What the programs write is wanted too.
    #[serde(default)]
    pub include_std_out: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub name: String,
    pub run: Run,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<String>,
    /// More lines on standard error than this are a failure, whatever the exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_std_err: Option<u64>,
    /// The next one begins whatever became of it.
    #[serde(default)]
    pub ignore_step_failure: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    Handler {
        handler: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        args: Vec<String>,
        /// Where it lies; none or `default` is the reader's own place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// A program and its arguments.
    Command(Vec<String>),
}

/// Why a document is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDocument {
    #[error("the job document is no list of steps")]
    NoSteps,
    #[error("the job document has version {0}, and only 1.0 is known")]
    Version(String),
    #[error("the job has conditions, which are not known here")]
    Conditions,
    #[error("the job has more than {} steps", limits::JOB_STEPS)]
    TooMany,
    #[error("step {step}: {why}")]
    Step { step: usize, why: &'static str },
}

/// The longest that a step may be given: what AWS allows an execution.
const LONGEST_S: u64 = 10_080 * 60;

impl Document {
    /// # Errors
    /// Why it is none. What is not known is passed over, as AWS's client does, but for conditions: they say where not to run.
    pub fn parse(document: &Value) -> Result<Self, BadDocument> {
        let document = document.as_object().ok_or(BadDocument::NoSteps)?;
        let include_std_out = truth(document.get("includeStdOut"));
        let Some(version) = document.get("version") else {
            return Ok(Self { steps: vec![operation(document)?], include_std_out });
        };
        if version.as_str() != Some("1.0") {
            return Err(BadDocument::Version(short(version)));
        }
        if document.get("conditions").is_some_and(|conditions| conditions.as_array().is_none_or(|all| !all.is_empty()))
        {
            return Err(BadDocument::Conditions);
        }
        let listed = document.get("steps").and_then(Value::as_array).filter(|steps| !steps.is_empty());
        let listed = listed.ok_or(BadDocument::NoSteps)?.iter().chain(document.get("finalStep"));
        if listed.clone().count() > limits::JOB_STEPS {
            return Err(BadDocument::TooMany);
        }
        let steps =
            listed.zip(1..).map(|(step, number)| action(step).map_err(|why| BadDocument::Step { step: number, why }));
        Ok(Self { steps: steps.collect::<Result<_, _>>()?, include_std_out })
    }
}

/// The older form: the whole document is one step.
fn operation(document: &Map<String, Value>) -> Result<Action, BadDocument> {
    let handler = text(document, "operation").ok_or(BadDocument::NoSteps)?;
    let wrong = |why| BadDocument::Step { step: 1, why };
    Ok(Action {
        name: handler.clone(),
        run: Run::Handler { handler, args: args(document.get("args")).map_err(wrong)?, path: text(document, "path") },
        run_as_user: text(document, "runAsUser"),
        allow_std_err: document.get("allowStdErr").and_then(Value::as_u64),
        ignore_step_failure: false,
        timeout_s: None,
    })
}

fn action(step: &Value) -> Result<Action, &'static str> {
    let action = step.get("action").and_then(Value::as_object).ok_or("it has no action")?;
    let name = text(action, "name").filter(|name| !name.is_empty()).ok_or("it has no name")?;
    let empty = Map::new();
    let input = action.get("input").and_then(Value::as_object).unwrap_or(&empty);
    let run = match action.get("type").and_then(Value::as_str) {
        Some("runHandler") => {
            let handler = text(input, "handler").filter(|handler| !handler.is_empty()).ok_or("it has no handler")?;
            Run::Handler { handler, args: args(input.get("args"))?, path: text(input, "path") }
        }
        Some("runCommand") => Run::Command(words(&text(input, "command").unwrap_or_default())?),
        _ => return Err("its type is neither runHandler nor runCommand"),
    };
    let timeout_s = match action.get("timeoutSeconds") {
        None => None,
        Some(secs) => {
            let secs = secs.as_u64().filter(|secs| (1..=LONGEST_S).contains(secs));
            Some(secs.ok_or("its timeoutSeconds is not 1 to 604800")?)
        }
    };
    Ok(Action {
        name,
        run,
        run_as_user: text(action, "runAsUser").filter(|user| !user.is_empty()),
        allow_std_err: action.get("allowStdErr").and_then(Value::as_u64),
        ignore_step_failure: truth(action.get("ignoreStepFailure")),
        timeout_s,
    })
}

/// The words of a command, which is one text: commas part them, and a comma of a word has a backslash before it.
///
/// # Errors
/// Why it is none.
pub fn words(command: &str) -> Result<Vec<String>, &'static str> {
    if command.is_empty() {
        return Err("it has no command");
    }
    let mut words = vec![String::new()];
    let mut chars = command.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, words.last_mut()) {
            ('\\', Some(word)) if chars.peek() == Some(&',') => word.extend(chars.next()),
            (',', _) => words.push(String::new()),
            (char, Some(word)) => word.push(char),
            (_, None) => {}
        }
    }
    let words: Vec<String> = words.into_iter().map(|word| word.trim().to_owned()).collect();
    if words.first().is_none_or(|program| program.is_empty() || program.contains(char::is_whitespace)) {
        return Err("its command does not begin with a program");
    }
    if words.len() > limits::JOB_STEP_ARGUMENTS {
        return Err("it has too many arguments");
    }
    Ok(words)
}

fn args(args: Option<&Value>) -> Result<Vec<String>, &'static str> {
    let Some(args) = args else { return Ok(Vec::new()) };
    let args = args.as_array().ok_or("its args are no list")?;
    if args.len() > limits::JOB_STEP_ARGUMENTS {
        return Err("it has too many arguments");
    }
    let args = args.iter().map(|arg| arg.as_str().map(str::to_owned));
    args.collect::<Option<_>>().ok_or("its args are not texts")
}

fn text(of: &Map<String, Value>, key: &str) -> Option<String> {
    of.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn truth(value: Option<&Value>) -> bool {
    value.is_some_and(|value| value.as_bool() == Some(true) || value.as_str() == Some("true"))
}

/// What somebody wrote, short enough for a sentence.
fn short(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn refused(document: Value) -> String {
        Document::parse(&document).expect_err("refused").to_string()
    }

    fn step(action: Value) -> Value {
        json!({"version": "1.0", "steps": [{"action": action}]})
    }

    #[test]
    fn both_forms_are_read() {
        let read = Document::parse(&json!({
            "_comment": "as AWS's samples have it", "version": "1.0", "includeStdOut": true, "conditions": [],
            "steps": [
                {"action": {"name": "install", "type": "runHandler", "runAsUser": "root", "allowStdErr": 2,
                    "ignoreStepFailure": "true", "timeoutSeconds": 90,
                    "input": {"handler": "install-packages.sh", "args": ["wget", "a,b"], "path": "default"}}},
                {"action": {"name": "say", "type": "runCommand", "input": {"command": "echo, Hello World ,a\\,b"}}},
            ],
            "finalStep": {"action": {"name": "clean", "type": "runHandler", "input": {"handler": "clean.sh"}}},
        }))
        .expect("a document");
        let [install, say, clean] = read.steps.as_slice() else { panic!("{read:?}") };
        assert!(read.include_std_out && install.ignore_step_failure && !say.ignore_step_failure);
        assert_eq!((install.allow_std_err, install.timeout_s), (Some(2), Some(90)));
        assert_eq!(install.run_as_user.as_deref(), Some("root"));
        let (handler, path) = ("install-packages.sh".to_owned(), Some("default".to_owned()));
        assert_eq!(install.run, Run::Handler { handler, args: vec!["wget".into(), "a,b".into()], path });
        assert_eq!(say.run, Run::Command(vec!["echo".into(), "Hello World".into(), "a,b".into()]));
        assert_eq!((clean.name.as_str(), clean.timeout_s), ("clean", None));

        let old = json!({"operation": "reboot.sh", "args": ["now"], "includeStdOut": "true", "allowStdErr": 0});
        let read = Document::parse(&old).expect("a document");
        let run = Run::Handler { handler: "reboot.sh".into(), args: vec!["now".into()], path: None };
        assert_eq!((read.steps[0].name.as_str(), &read.steps[0].run), ("reboot.sh", &run));
        assert_eq!((read.include_std_out, read.steps[0].allow_std_err), (true, Some(0)));
    }

    #[test]
    fn what_is_none_is_told_why() {
        let run = |input: Value| step(json!({"name": "n", "type": "runHandler", "input": input}));
        for (document, why) in [
            (json!([]), "the job document is no list of steps"),
            (json!({}), "the job document is no list of steps"),
            (json!({"version": "1.0", "steps": []}), "the job document is no list of steps"),
            (json!({"version": "2.0", "steps": []}), "the job document has version 2.0, and only 1.0 is known"),
            (json!({"version": 1, "steps": []}), "the job document has version 1, and only 1.0 is known"),
            (
                json!({"version": "1.0", "conditions": [{}], "steps": []}),
                "the job has conditions, which are not known here",
            ),
            (json!({"version": "1.0", "steps": [{}]}), "step 1: it has no action"),
            (step(json!({"type": "runHandler"})), "step 1: it has no name"),
            (step(json!({"name": "n", "type": "runShell"})), "step 1: its type is neither runHandler nor runCommand"),
            (run(json!({})), "step 1: it has no handler"),
            (run(json!({"handler": "h", "args": "x"})), "step 1: its args are no list"),
            (run(json!({"handler": "h", "args": [1]})), "step 1: its args are not texts"),
            (run(json!({"handler": "h", "args": vec!["x"; 65]})), "step 1: it has too many arguments"),
            (step(json!({"name": "n", "type": "runCommand"})), "step 1: it has no command"),
            (
                step(json!({"name": "n", "type": "runCommand", "input": {"command": "rm -rf,/"}})),
                "step 1: its command does not begin with a program",
            ),
            (
                step(json!({"name": "n", "type": "runHandler", "input": {"handler": "h"}, "timeoutSeconds": 0})),
                "step 1: its timeoutSeconds is not 1 to 604800",
            ),
            (json!({"version": "1.0", "steps": vec![json!({}); 65]}), "the job has more than 64 steps"),
        ] {
            assert_eq!(refused(document.clone()), why, "{document}");
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_reads_the_same(name in ".{1,9}", handler in "[a-z.-]{1,9}", args in prop::collection::vec(".{0,5}", 0..4),
                                       command in "[a-z/]{1,8}(,[a-z\\\\]{0,4}){0,4}", lines: Option<u64>) {
            let document = json!({"version": "1.0", "steps": [
                {"action": {"name": name, "type": "runHandler", "input": {"handler": handler, "args": args}, "allowStdErr": lines}},
                {"action": {"name": "c", "type": "runCommand", "input": {"command": command}}},
            ]});
            let read = Document::parse(&document).expect("a document");
            let kept = serde_json::to_vec(&read).expect("JSON");
            prop_assert_eq!(serde_json::from_slice::<Document>(&kept).expect("own output"), read);
        }

        #[test]
        fn any_json_is_taken(text in "\\PC{0,60}", key in "(version|steps|operation|args|action|input|type)") {
            let value = serde_json::from_str(&text).unwrap_or_else(|_| json!({ &key: text }));
            drop(Document::parse(&value));
            drop(Document::parse(&json!({"version": "1.0", "steps": [value]})));
        }
    }
}
