-- A location is healthy while its last probe could use the bucket. While the first probe runs, `Ready` is false as well:
-- `Reconciling` tells the two apart.
local health = { status = "Progressing", message = "Waiting for the first probe" }

if obj.metadata.deletionTimestamp ~= nil then
  health.message = "Being deleted"
  return health
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  conditions[condition.type] = condition
end
local ready = conditions.Ready
if ready == nil then
  return health
end

health.message = ready.message
if health.message == nil or health.message == "" then
  health.message = ready.reason
end
if ready.status == "True" then
  health.status = "Healthy"
elseif ready.status == "False" and (conditions.Reconciling == nil or conditions.Reconciling.status ~= "True") then
  health.status = "Degraded"
end
return health
