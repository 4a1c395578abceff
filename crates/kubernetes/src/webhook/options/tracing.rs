//! Where sidecars send traces and statistics.

use clap::{ArgAction, Args};
use tombolo_kube::inject::{Statsd, Tracing, XrayDaemon};

use super::{OptionsError, given, wrong};

/// Where sidecars send traces and statistics.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tracing")]
pub(super) struct TracingOptions {
    /// Trace with an X-Ray daemon beside the sidecar.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    enable_xray_tracing: bool,
    /// The image of the X-Ray daemon.
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "public.ecr.aws/xray/aws-xray-daemon:latest"
    )]
    xray_image: String,
    /// The port of the X-Ray daemon.
    #[arg(long, value_name = "PORT", default_value_t = 2000)]
    xray_daemon_port: u16,
    /// The share of requests that are traced: a number from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value = "0.05")]
    xray_sampling_rate: String,
    /// The log level of the X-Ray daemon.
    #[arg(long, value_name = "LEVEL", default_value = "prod")]
    xray_log_level: String,
    /// The role that the X-Ray daemon assumes.
    #[arg(long = "xray-config-roleArn", value_name = "ARN", default_value = "")]
    xray_config_role_arn: String,
    /// Trace to a Jaeger collector.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    enable_jaeger_tracing: bool,
    /// The Jaeger collector, or ref:status.hostIP for the pod's host.
    #[arg(
        long,
        value_name = "HOST",
        default_value = "appmesh-jaeger.appmesh-system"
    )]
    jaeger_address: String,
    /// The port of the Jaeger collector.
    #[arg(long, value_name = "PORT", default_value_t = 9411)]
    jaeger_port: u16,
    /// Trace to a Datadog agent.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    enable_datadog_tracing: bool,
    /// The Datadog agent, or ref:status.hostIP for the pod's host.
    #[arg(long, value_name = "HOST", default_value = "datadog.appmesh-system")]
    datadog_address: String,
    /// The port of the Datadog agent.
    #[arg(long, value_name = "PORT", default_value_t = 8126)]
    datadog_port: u16,
    /// Statistics carry tags.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    pub(super) enable_stats_tags: bool,
    /// Statistics go to a StatsD server.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    enable_statsd: bool,
    /// The StatsD server, or ref:status.hostIP for the pod's host.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    statsd_address: String,
    /// The port of the StatsD server.
    #[arg(long, value_name = "PORT", default_value_t = 8125)]
    statsd_port: u16,
    /// The socket of the StatsD server, in place of address and port.
    #[arg(long, value_name = "PATH", default_value = "")]
    statsd_socket_path: String,
}

impl TracingOptions {
    /// The StatsD server, if statistics go to one.
    pub(super) fn statsd(&self) -> Option<Statsd> {
        self.enable_statsd.then(|| Statsd {
            address: self.statsd_address.clone(),
            port: self.statsd_port,
            socket_path: given(&self.statsd_socket_path),
        })
    }

    /// The tracer, which is one at most.
    pub(super) fn tracing(&self) -> Result<Tracing, OptionsError> {
        let wanted = [
            self.enable_xray_tracing,
            self.enable_jaeger_tracing,
            self.enable_datadog_tracing,
        ];
        if wanted.into_iter().filter(|wanted| *wanted).count() > 1 {
            let problem = "a sidecar has one tracer: X-Ray, Jaeger or Datadog";
            return Err(wrong("--enable-xray-tracing", problem));
        }
        if self.enable_xray_tracing {
            let rate = self.xray_sampling_rate.parse::<f64>();
            if !rate.is_ok_and(|rate| (0.0..=1.0).contains(&rate)) {
                let problem = format!("{:?} is not a number from 0 to 1", self.xray_sampling_rate);
                return Err(wrong("--xray-sampling-rate", problem));
            }
            let mut daemon = XrayDaemon::new(&self.xray_image);
            daemon.port = self.xray_daemon_port;
            daemon.sampling_rate = self.xray_sampling_rate.clone();
            daemon.log_level = given(&self.xray_log_level);
            daemon.role_arn = given(&self.xray_config_role_arn);
            return Ok(Tracing::Xray(daemon));
        }
        Ok(if self.enable_jaeger_tracing {
            Tracing::Jaeger {
                address: self.jaeger_address.clone(),
                port: self.jaeger_port,
            }
        } else if self.enable_datadog_tracing {
            Tracing::Datadog {
                address: self.datadog_address.clone(),
                port: self.datadog_port,
            }
        } else {
            Tracing::Off
        })
    }
}
