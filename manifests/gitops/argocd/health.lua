-- How Argo CD sees an object of servicedb: the same rules as kstatus (Flux, kubectl wait), and Degraded where kstatus
-- has nothing but "in progress" for something that does not go on by itself.
local status = obj.status or {}
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end

local function health(name, condition)
  local message = ""
  if condition ~= nil then
    message = condition.reason or ""
    if condition.message ~= nil and condition.message ~= "" then
      message = message .. ": " .. condition.message
    end
  end
  return {status = name, message = message}
end

local function is(kind, value)
  return found[kind] ~= nil and found[kind].status == value
end

if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not seen this spec yet"}
end
if is("Stalled", "True") then
  return health("Degraded", found.Stalled)
end
if is("Reconciling", "True") then
  return health("Progressing", found.Reconciling)
end
if is("Reconciling", "False") then -- suspended, or only planned
  return health("Suspended", found.Reconciling)
end
if is("Ready", "True") then
  return health("Healthy", found.Ready)
end
if is("Ready", "False") then
  return health("Degraded", found.Ready)
end
return health("Progressing", found.Ready)
