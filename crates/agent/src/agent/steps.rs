//! Performing what jobs of steps ask for: handlers of the same directory as operations, and programs that the owner listed.

use std::io;
use std::path::{Path, PathBuf};

use fleetward_wire::aws::steps::{Action, Run as Runs};

use super::{Agent, AgentError, Done, io_error};
use crate::commands::Policy;
use crate::disk::Disk;
use crate::handlers::{HandlerError, Handlers, Ran};
use crate::options::RunOptions;
use crate::steps::{Ended, Event, Run, Steps, Todo};

/// What AWS's client calls its own directory of handlers.
const DEFAULT_PATH: &str = "default";

/// Jobs of steps, and what they may run.
pub(super) struct Tasks {
    steps: Steps,
    allowed: Allowed,
}

/// What the owner of the device lets jobs run.
#[derive(Clone)]
struct Allowed {
    operations: Handlers,
    directory: Option<PathBuf>,
    /// Whole commands, as documents spell them.
    commands: Vec<Vec<String>>,
}

impl Tasks {
    pub(super) fn open(options: &RunOptions, operations: Handlers, disk: &dyn Disk) -> Result<Self, AgentError> {
        let boot = std::fs::read_to_string(&options.boot_id).map_err(io_error("cannot read the id of this boot"))?;
        let steps = Steps::open(boot.trim().to_owned(), options.handler_limit(), disk);
        let steps = steps.map_err(io_error("cannot read the journal of jobs"))?;
        let commands = options.job_commands.iter().map(|command| command.0.clone()).collect();
        Ok(Self { steps, allowed: Allowed { operations, directory: options.commands.clone(), commands } })
    }
}

impl Allowed {
    /// What becomes of a step after a cut, or why it may not be run at all.
    fn judge(&self, action: &Action) -> Result<Policy, String> {
        match &action.run {
            Runs::Handler { handler, path, .. } => {
                let own = |path: &str| path == DEFAULT_PATH || self.directory.as_deref() == Some(Path::new(path));
                if path.as_deref().is_some_and(|path| !path.is_empty() && !own(path)) {
                    return Err("handlers lie in the agent's own directory, and this path is another".to_owned());
                }
                match super::commands::policy_of(&self.operations, handler) {
                    Ok(Some(policy)) => Ok(policy),
                    Ok(None) => Err(format!("the policy of {handler} cannot be understood")),
                    Err(HandlerError::Absent) => Err(format!("there is no handler {handler} here")),
                    Err(error) => Err(format!("{handler}: {error}")),
                }
            }
            Runs::Command(words) if self.commands.contains(words) => match action.run_as_user {
                None => Ok(Policy::ReportUnknown),
                Some(_) => Err("a command runs as the agent's user only".to_owned()),
            },
            Runs::Command(_) => Err("the owner of this device does not allow that command".to_owned()),
        }
    }

    /// Judged once more: an earlier life took the job on, and the owner may have changed what is allowed since.
    async fn run(&self, run: &Run) -> Result<Ran, String> {
        self.judge(&run.action)?;
        self.start(run).await.map_err(|error| error.to_string())
    }

    async fn start(&self, run: &Run) -> Result<Ran, HandlerError> {
        let user = run.action.run_as_user.clone().unwrap_or_default();
        let environment = [
            ("FLEETWARD_JOB", run.key.job.clone()),
            ("FLEETWARD_JOB_TRY", run.key.number.to_string()),
            ("FLEETWARD_STEP", run.action.name.clone()),
            ("FLEETWARD_RUN_AS_USER", user.clone()),
            ("FLEETWARD_RESUMES", u8::from(run.resumes).to_string()),
        ];
        match &run.action.run {
            Runs::Handler { handler, args, .. } => {
                let file = self.operations.find(handler)?;
                // As AWS's client calls them: first the user, who may be nobody, then the arguments.
                let arguments: Vec<String> = std::iter::once(user).chain(args.iter().cloned()).collect();
                self.operations.run_step(&file, &arguments, &environment, run.limit).await
            }
            Runs::Command(words) => {
                let (program, arguments) = words.split_first().ok_or(HandlerError::Absent)?;
                self.operations.run_step(Path::new(program), arguments, &environment, run.limit).await
            }
        }
    }
}

/// What a program's end means for its step.
fn ended(action: &Action, ran: Result<Ran, String>) -> Ended {
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => return Ended { failure: Some(error), ..Ended::default() },
    };
    let last = ran.stderr.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let last = last.map(|line| format!(": {line}")).unwrap_or_default();
    let failure = if !ran.status.success() {
        Some(format!("it ended with {}{last}", ran.status))
    } else {
        let loud = action.allow_std_err.is_some_and(|allowed| ran.complaints > allowed);
        loud.then(|| format!("it wrote {} lines to standard error{last}", ran.complaints))
    };
    Ended { failure, stdout: ran.stdout, stderr: ran.stderr }
}

impl Agent {
    /// A session stands: ends are told, and the server is asked whether it still wants what was begun.
    pub(super) fn steps_go_on(&mut self) {
        let todo = self.tasks.steps.session_began();
        self.do_steps(Ok(todo));
    }

    pub(super) fn steps_heard(&mut self, event: Event) {
        let allowed = self.tasks.allowed.clone();
        let todo = self.tasks.steps.handle(event, &|action| allowed.judge(action), self.disk.as_ref());
        self.do_steps(todo);
    }

    fn do_steps(&mut self, todo: io::Result<Vec<Todo>>) {
        let todo = match todo {
            Ok(todo) => todo,
            Err(error) => return tracing::error!(%error, "cannot keep the journal of jobs; nothing is run"),
        };
        for one in todo {
            match one {
                Todo::Say(word) => {
                    tracing::info!(job = %word.which.job, verdict = ?word.verdict, step = word.details.get("step"), "job");
                    let messages = self.jobs.say(word);
                    self.send(messages);
                }
                Todo::AskNext => {
                    let messages = self.jobs.ask_next();
                    self.send(messages);
                }
                Todo::Run(run) => self.run_step(*run),
            }
        }
    }

    fn run_step(&mut self, run: Run) {
        let allowed = self.tasks.allowed.clone();
        self.work.spawn(async move {
            let reboots = allowed.judge(&run.action) == Ok(Policy::Reboots);
            let ran = allowed.run(&run).await;
            // What it wrote may be a secret, and so may the failure, which repeats a line of it.
            let status = ran.as_ref().ok().map(|ran| ran.status.to_string());
            tracing::info!(job = %run.key.job, step = %run.action.name, status, "step");
            let ended = ended(&run.action, ran);
            Done::Stepped { run: Box::new(run), reboots, ended }
        });
    }

    /// The program of a step ended. One that restarts the device is not at its end before that.
    pub(super) fn stepped(&mut self, run: &Run, reboots: bool, ended: &Ended) {
        let (job, step) = (&run.key.job, &run.action.name);
        if reboots && ended.failure.is_none() {
            tracing::info!(job, step, "the step waits for the restart of the device");
            let todo = self.tasks.steps.waits(&run.key, self.disk.as_ref());
            return self.do_steps(todo);
        }
        let todo = self.tasks.steps.ended(&run.key, run.step, ended, self.disk.as_ref());
        self.do_steps(todo);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::steps::Key;

    struct Fixture {
        root: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("operations")).unwrap();
            let fixture = Self { root };
            fixture.mode("operations", 0o755);
            fixture
        }

        fn mode(&self, path: &str, mode: u32) {
            std::fs::set_permissions(self.root.path().join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }

        fn handler(&self, name: &str, body: &str) {
            let path = format!("operations/{name}");
            std::fs::write(self.root.path().join(&path), format!("#!/bin/sh\n{body}\n")).unwrap();
            self.mode(&path, 0o755);
        }

        fn allowed(&self) -> Allowed {
            let directory = self.root.path().join("operations");
            let limit = Duration::from_secs(20);
            Allowed {
                operations: Handlers::new(Some(directory.clone()), self.root.path().to_owned(), limit),
                directory: Some(directory),
                commands: vec![vec!["echo".to_owned(), "hello".to_owned()]],
            }
        }

        async fn runs(&self, action: Action) -> Ended {
            let key = Key { job: "j".to_owned(), number: 2, queued_at: 1 };
            let run = Run { key, step: 0, action, limit: Duration::from_secs(20), resumes: true };
            ended(&run.action, self.allowed().run(&run).await)
        }
    }

    fn action(change: Value) -> Action {
        let mut action = json!({"name": "n", "type": "runHandler", "input": {"handler": "say"}});
        for (key, value) in change.as_object().into_iter().flatten() {
            action[key] = value.clone();
        }
        let document = json!({"version": "1.0", "steps": [{"action": action}]});
        fleetward_wire::aws::steps::Document::parse(&document).expect("a document").steps.remove(0)
    }

    fn command(command: &str) -> Action {
        action(json!({"type": "runCommand", "input": {"command": command}}))
    }

    #[test]
    fn what_the_owner_did_not_allow_is_refused() {
        let fixture = Fixture::new();
        fixture.handler("say", "true");
        fixture.handler("odd", "true");
        std::fs::write(fixture.root.path().join("operations/odd.policy"), "maybe").unwrap();
        fixture.mode("operations/odd.policy", 0o644);
        fixture.handler("open", "true");
        fixture.mode("operations/open", 0o777);
        let allowed = fixture.allowed();
        let judge = |input: Value| allowed.judge(&action(json!({ "input": input })));
        let directory = fixture.root.path().join("operations").display().to_string();
        for path in [json!(null), json!("default"), json!(""), json!(directory)] {
            assert_eq!(judge(json!({"handler": "say", "path": path})), Ok(Policy::ReportUnknown));
        }
        for (input, why) in [
            (json!({"handler": "say", "path": "/tmp"}), "this path is another"),
            (json!({"handler": "none"}), "there is no handler none here"),
            (json!({"handler": "../say"}), "its name cannot be that of a handler"),
            (json!({"handler": "/bin/sh"}), "its name cannot be that of a handler"),
            (json!({"handler": "open"}), "not to be trusted"),
            (json!({"handler": "odd"}), "the policy of odd cannot be understood"),
        ] {
            let refused = judge(input).expect_err("refused");
            assert!(refused.contains(why), "{refused}");
        }
        assert_eq!(allowed.judge(&command("echo,hello")), Ok(Policy::ReportUnknown));
        for other in ["echo", "echo,hello,you", "echo,hullo", "/bin/echo,hello"] {
            assert!(allowed.judge(&command(other)).is_err(), "{other}");
        }
        let root = action(json!({"type": "runCommand", "input": {"command": "echo,hello"}, "runAsUser": "root"}));
        assert!(allowed.judge(&root).is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn programs_get_the_user_and_their_arguments() {
        let fixture = Fixture::new();
        fixture
            .handler("say", r#"echo "$#:$1:$2:$FLEETWARD_JOB:$FLEETWARD_JOB_TRY:$FLEETWARD_STEP:$FLEETWARD_RESUMES""#);
        let input = json!({"handler": "say", "args": ["a b"]});
        let said = fixture.runs(action(json!({ "input": input }))).await;
        assert_eq!((said.failure, said.stdout.as_str()), (None, "2::a b:j:2:n:1"));
        let said = fixture.runs(action(json!({"input": input, "runAsUser": "app"}))).await;
        assert_eq!(said.stdout, "2:app:a b:j:2:n:1");
        let said = fixture.runs(command("echo,hello")).await;
        assert_eq!((said.failure, said.stdout.as_str()), (None, "hello"));
        // A life before took it on; its owner does not allow it any more.
        let refused = fixture.runs(command("echo,bye")).await;
        let why = "the owner of this device does not allow that command";
        assert_eq!((refused.failure.as_deref(), refused.stdout.as_str()), (Some(why), ""));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_no_success_is_said() {
        let fixture = Fixture::new();
        fixture.handler("say", "echo one >&2; echo two >&2; exit $2");
        let with = |code: &str, allowed: Value| {
            action(json!({"input": {"handler": "say", "args": [code]}, "allowStdErr": allowed}))
        };
        let failed = fixture.runs(with("4", json!(null))).await;
        assert_eq!(failed.failure.as_deref(), Some("it ended with exit status: 4: two"));
        assert_eq!(failed.stderr, "one\ntwo");
        assert_eq!(fixture.runs(with("0", json!(null))).await.failure, None);
        assert_eq!(fixture.runs(with("0", json!(2))).await.failure, None);
        let loud = fixture.runs(with("0", json!(1))).await;
        assert_eq!(loud.failure.as_deref(), Some("it wrote 2 lines to standard error: two"));
    }
}
