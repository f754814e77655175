# The metrics, alerts and dashboards of this folder, out of the same files that `make ops` reads.
#
#   module "batchpush_ops" {
#     source   = "./ops"
#     project  = "my-project"
#     channels = [google_monitoring_notification_channel.on_call.id]
#   }
#
# An alert on a metric that was just created is refused for up to ten minutes; then apply again.

terraform {
  required_version = ">= 1.3"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 5.0"
    }
  }
}

variable "project" {
  description = "The id of the project that the functions are deployed to."
  type        = string
}

variable "channels" {
  description = "The notification channels that the alerts go to, by their full names."
  type        = list(string)
  default     = []
}

locals {
  metrics = {
    for file in fileset(path.module, "metrics/*.json") :
    trimsuffix(basename(file), ".json") => jsondecode(file("${path.module}/${file}"))
  }
  alerts = {
    for file in fileset(path.module, "alerts/*.json") :
    trimsuffix(basename(file), ".json") => jsondecode(file("${path.module}/${file}"))
  }
}

resource "google_logging_metric" "metric" {
  for_each = local.metrics

  project          = var.project
  name             = each.value.name
  description      = each.value.description
  filter           = each.value.filter
  label_extractors = each.value.labelExtractors
  value_extractor  = try(each.value.valueExtractor, null)

  metric_descriptor {
    metric_kind = each.value.metricDescriptor.metricKind
    value_type  = each.value.metricDescriptor.valueType
    unit        = each.value.metricDescriptor.unit

    dynamic "labels" {
      for_each = each.value.metricDescriptor.labels
      content {
        key = labels.value.key
      }
    }
  }

  dynamic "bucket_options" {
    for_each = try([each.value.bucketOptions.exponentialBuckets], [])
    content {
      exponential_buckets {
        num_finite_buckets = bucket_options.value.numFiniteBuckets
        growth_factor      = bucket_options.value.growthFactor
        scale              = bucket_options.value.scale
      }
    }
  }
}

resource "google_monitoring_alert_policy" "alert" {
  for_each = local.alerts

  project               = var.project
  display_name          = each.value.displayName
  combiner              = each.value.combiner
  notification_channels = var.channels

  documentation {
    content   = each.value.documentation.content
    mime_type = each.value.documentation.mimeType
  }

  dynamic "conditions" {
    for_each = each.value.conditions
    content {
      display_name = conditions.value.displayName

      dynamic "condition_matched_log" {
        for_each = try([conditions.value.conditionMatchedLog], [])
        content {
          filter           = condition_matched_log.value.filter
          label_extractors = condition_matched_log.value.labelExtractors
        }
      }

      dynamic "condition_threshold" {
        for_each = try([conditions.value.conditionThreshold], [])
        content {
          filter          = condition_threshold.value.filter
          comparison      = condition_threshold.value.comparison
          threshold_value = condition_threshold.value.thresholdValue
          duration        = condition_threshold.value.duration

          dynamic "aggregations" {
            for_each = condition_threshold.value.aggregations
            content {
              alignment_period     = aggregations.value.alignmentPeriod
              per_series_aligner   = aggregations.value.perSeriesAligner
              cross_series_reducer = aggregations.value.crossSeriesReducer
              group_by_fields      = try(aggregations.value.groupByFields, null)
            }
          }
        }
      }
    }
  }

  dynamic "alert_strategy" {
    for_each = try([each.value.alertStrategy], [])
    content {
      auto_close = alert_strategy.value.autoClose

      notification_rate_limit {
        period = alert_strategy.value.notificationRateLimit.period
      }
    }
  }

  depends_on = [google_logging_metric.metric]
}

resource "google_monitoring_dashboard" "dashboard" {
  for_each = fileset(path.module, "dashboards/*.json")

  project        = var.project
  dashboard_json = file("${path.module}/${each.value}")
}
