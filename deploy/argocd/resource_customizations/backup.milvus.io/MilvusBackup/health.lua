-- A backup is healthy once it succeeded. `Stalled` and a false `Succeeded` are final, so both are a failed sync.
local health = { status = "Progressing", message = "Waiting for the operator" }

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
local succeeded = conditions.Succeeded
if succeeded == nil then
  return health
end

health.message = succeeded.message
if health.message == nil or health.message == "" then
  health.message = succeeded.reason
end
if succeeded.status == "True" then
  health.status = "Healthy"
elseif succeeded.status == "False" or (conditions.Stalled ~= nil and conditions.Stalled.status == "True") then
  health.status = "Degraded"
elseif obj.status.progress ~= nil and obj.status.progress.display ~= nil then
  health.message = succeeded.reason .. ": " .. obj.status.progress.display
end
return health
