//! Reasons of conditions, grouped by the condition they stand in.

/// `Succeeded`: not looked at yet. Also the reason of every other condition that is not known yet.
pub const PENDING: &str = "Pending";
/// `Succeeded`: finding the Milvus and the location.
pub const RESOLVING: &str = "Resolving";
/// `Succeeded`: waiting in line.
pub const QUEUED: &str = "Queued";
/// `Succeeded`: the pod connects and checks.
pub const PREFLIGHT: &str = "Preflight";
/// `Succeeded`: waiting for data to reach the bucket.
pub const FLUSHING: &str = "Flushing";
/// `Succeeded`: describing collections.
pub const COPYING_METADATA: &str = "CopyingMetadata";
/// `Succeeded`: moving data.
pub const COPYING_DATA: &str = "CopyingData";
/// `Succeeded`: proving the result.
pub const VERIFYING: &str = "Verifying";
/// `Succeeded`: writing the last parts.
pub const FINALIZING: &str = "Finalizing";
/// `Succeeded`: waiting for the next attempt.
pub const RETRYING: &str = "Retrying";
/// `Succeeded`: stopping.
pub const CANCELLING: &str = "Cancelling";
/// `Succeeded`: done.
pub const COMPLETED: &str = "Completed";
/// `Succeeded` of a restore with `preflightOnly`: it would work.
pub const PREFLIGHT_PASSED: &str = "PreflightPassed";
/// `Succeeded` of a restore: done before, nothing touched.
pub const ALREADY_RESTORED: &str = "AlreadyRestored";
/// Ended badly.
pub const FAILED: &str = "Failed";
/// `Succeeded`: some collections failed.
pub const PARTIALLY_FAILED: &str = "PartiallyFailed";
/// `Succeeded`: stopped on request.
pub const CANCELLED: &str = "Cancelled";
/// `Succeeded`: what was asked for cannot be done.
pub const REJECTED: &str = "Rejected";
/// `Succeeded`: did not start in time.
pub const START_DEADLINE_EXCEEDED: &str = "StartDeadlineExceeded";
/// `Succeeded`: took too long.
pub const RUN_DEADLINE_EXCEEDED: &str = "RunDeadlineExceeded";
/// `Succeeded`: no sign of life.
pub const STALLED: &str = "Stalled";
/// `Succeeded` of a restore: a target collection exists.
pub const CONFLICT_FOUND: &str = "ConflictFound";
/// `Succeeded` of a restore: `confirmTargetUID` is of another Milvus.
pub const TARGET_UID_MISMATCH: &str = "TargetUIDMismatch";
/// `Succeeded` of a restore: the target is older than the source was.
pub const VERSION_TOO_OLD: &str = "VersionTooOld";
/// `Succeeded` of a restore: rows are missing.
pub const ROW_COUNT_MISMATCH: &str = "RowCountMismatch";
/// `Succeeded` of a restore: a row that was compared is not the row of the backup.
pub const CONTENT_MISMATCH: &str = "ContentMismatch";

/// `Ready` of a backup: it can be restored.
pub const RESTORABLE: &str = "Restorable";
/// `Ready` of a backup: what was copied can be restored.
pub const PARTIALLY_RESTORABLE: &str = "PartiallyRestorable";
/// `Ready`: not yet.
pub const NOT_YET: &str = "NotYet";
/// `Ready` of a backup: its data is gone.
pub const ARTIFACT_MISSING: &str = "ArtifactMissing";
/// `Ready`, `DataDeleted`: going. `SourceResolved`: the Milvus is being deleted.
pub const DELETING: &str = "Deleting";

/// `SourceResolved`: found.
pub const RESOLVED: &str = "Resolved";
/// Something named does not exist.
pub const NOT_FOUND: &str = "NotFound";
/// `SourceResolved`: the resource holds something we cannot use.
pub const INVALID: &str = "Invalid";
/// `SourceResolved`: recognised, but not built yet.
pub const UNSUPPORTED: &str = "Unsupported";
/// `SourceResolved`: Milvus asks for a login and none is named.
pub const AUTH_REQUIRED: &str = "AuthRequired";
/// `SourceResolved`: the login was refused.
pub const AUTH_FAILED: &str = "AuthFailed";
/// `SourceResolved`: Milvus' data is not where it should be.
pub const STORAGE_PATH_MISMATCH: &str = "StoragePathMismatch";
/// `SourceResolved`: the live configuration says otherwise.
pub const SOURCE_CONFIG_DRIFT: &str = "SourceConfigDrift";
/// `SourceResolved`: too old or too new.
pub const UNSUPPORTED_VERSION: &str = "UnsupportedVersion";
/// `SourceResolved`: the certificate authority was not found.
pub const TLS_UNRESOLVED: &str = "TLSUnresolved";

/// `LocationAvailable`, `SourceAvailable`: usable.
pub const AVAILABLE: &str = "Available";
/// `LocationAvailable`: its last try failed.
pub const NOT_READY: &str = "NotReady";

/// `Admitted`: let in.
pub const ADMITTED: &str = "Admitted";
/// `Admitted`: Milvus is in the middle of a change.
pub const SOURCE_UPDATING: &str = "SourceUpdating";
/// `Admitted`: Milvus is not healthy.
pub const SOURCE_UNHEALTHY: &str = "SourceUnhealthy";
/// `Admitted`: another run works on this Milvus.
pub const WAITING_FOR_LOCK: &str = "WaitingForLock";
/// `Admitted`: too many runs.
pub const CONCURRENCY_LIMIT: &str = "ConcurrencyLimit";
/// `Admitted`: no node for the pod.
pub const POD_UNSCHEDULABLE: &str = "PodUnschedulable";
/// `Admitted`: the image cannot be pulled.
pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
/// `Admitted`: a quota or a policy refuses the pod.
pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";

/// `Verified`: every object is there in its size.
pub const MANIFEST_VERIFIED: &str = "ManifestVerified";
/// `Verified`: every object was read.
pub const CHECKSUM_VERIFIED: &str = "ChecksumVerified";
/// `Verified` of a restore: rows were counted.
pub const ROW_COUNTS_VERIFIED: &str = "RowCountsVerified";
/// `Verified` of a restore: rows were counted, and some of every collection compared field by field.
pub const SAMPLE_VERIFIED: &str = "SampleVerified";
/// `Verified`: not proven.
pub const NOT_VERIFIED: &str = "NotVerified";
/// `Verified`: proven wrong.
pub const CHECK_FAILED: &str = "CheckFailed";

/// `SharedFate`: the store goes when the Milvus resource is deleted.
pub const SAME_STORE_DELETED_WITH_CLUSTER: &str = "SameStoreDeletedWithCluster";
/// `SharedFate`: the copy lies in Milvus' own bucket.
pub const SAME_BUCKET: &str = "SameBucket";
/// `SharedFate`: no.
pub const SEPARATE: &str = "Separate";

/// `DataDeleted`: gone.
pub const DELETED: &str = "Deleted";
/// `DataDeleted`: the bucket itself is gone.
pub const BUCKET_GONE: &str = "BucketGone";
/// `DataDeleted`: given up, the data may still be there.
pub const ORPHANED: &str = "Orphaned";
/// `DataDeleted`: `lifecycle.hold` keeps it.
pub const HELD: &str = "Held";
/// `DataDeleted`: the location cannot be used.
pub const LOCATION_UNAVAILABLE: &str = "LocationUnavailable";
/// The store refuses.
pub const ACCESS_DENIED: &str = "AccessDenied";
/// `DataDeleted`: a restore reads it.
pub const IN_USE_BY_RESTORE: &str = "InUseByRestore";
/// `DataDeleted`: nobody asked for it.
pub const KEPT: &str = "Kept";

/// Location: the host name is unknown.
pub const DNS_FAILURE: &str = "DNSFailure";
/// Location: the certificate is not accepted.
pub const TLS_FAILURE: &str = "TLSFailure";
/// Location: no such bucket.
pub const BUCKET_NOT_FOUND: &str = "BucketNotFound";
/// Location: the clocks differ.
pub const CLOCK_SKEW: &str = "ClockSkew";
/// Location: the try failed.
pub const PROBE_FAILED: &str = "ProbeFailed";
/// Location: the try worked.
pub const PROBED: &str = "Probed";

/// `Reconciling`, `Stalled`: nothing to do.
pub const IDLE: &str = "Idle";
/// `Reconciling`: work goes on.
pub const WORKING: &str = "Working";
