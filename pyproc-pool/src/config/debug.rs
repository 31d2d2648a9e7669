//! What of the settings may come into logs: not what `args` and `env` say, which is often secret.

use std::fmt;

use super::PoolConfig;

/// Of `env` the names only, and of `args` the number.
impl fmt::Debug for PoolConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without `..`, so that a new setting is not forgotten.
        let Self {
            workers,
            max_in_flight,
            max_queue,
            python_exec,
            worker_script,
            args,
            env,
            working_dir,
            start_timeout,
            request_timeout,
            socket_dir,
            max_frame_size,
            external_sockets,
            max_protocol_version,
            spin,
            restart,
            output,
            python_logs,
            log_rate,
            call_log,
            slow_call,
        } = self;
        f.debug_struct("PoolConfig")
            .field("workers", workers)
            .field("max_in_flight", max_in_flight)
            .field("max_queue", max_queue)
            .field("python_exec", python_exec)
            .field("worker_script", worker_script)
            .field("args", &args.len())
            .field("env", &Vec::from_iter(env.keys()))
            .field("working_dir", working_dir)
            .field("start_timeout", start_timeout)
            .field("request_timeout", request_timeout)
            .field("socket_dir", socket_dir)
            .field("max_frame_size", max_frame_size)
            .field("external_sockets", external_sockets)
            .field("max_protocol_version", max_protocol_version)
            .field("spin", spin)
            .field("restart", restart)
            .field("output", output)
            .field("python_logs", python_logs)
            .field("log_rate", log_rate)
            .field("call_log", call_log)
            .field("slow_call", slow_call)
            .finish()
    }
}
