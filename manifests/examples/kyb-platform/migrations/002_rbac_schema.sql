-- Who may do what: a role everywhere, or for one business.

CREATE TABLE role_assignments (
    id uuid DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    role text NOT NULL,
    business_id uuid,
    granted_by uuid,
    granted_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    CONSTRAINT role_assignments_pkey PRIMARY KEY (id),
    CONSTRAINT role_assignments_user_fkey FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE,
    CONSTRAINT role_assignments_business_fkey FOREIGN KEY (business_id) REFERENCES businesses ON DELETE CASCADE,
    CONSTRAINT role_assignments_granted_by_fkey FOREIGN KEY (granted_by) REFERENCES users ON DELETE SET NULL,
    CONSTRAINT role_assignments_role_is_known
        CHECK (role IN ('admin', 'compliance_officer', 'analyst', 'auditor', 'viewer')),
    CONSTRAINT role_assignments_admin_is_admin_everywhere CHECK (role <> 'admin' OR business_id IS NULL),
    CONSTRAINT role_assignments_not_granted_to_oneself CHECK (granted_by <> user_id),
    CONSTRAINT role_assignments_expire_later CHECK (expires_at > granted_at)
);

-- A role is held once: everywhere, or once for a business. Two indexes, since NULLs are not equal.
CREATE UNIQUE INDEX role_assignments_everywhere_key ON role_assignments (user_id, role) WHERE business_id IS NULL;
CREATE UNIQUE INDEX role_assignments_of_business_key ON role_assignments (user_id, role, business_id)
    WHERE business_id IS NOT NULL;

-- Whether somebody holds a role now, everywhere or for this business.
CREATE FUNCTION holds_role(who uuid, wanted text, for_business uuid DEFAULT NULL) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT EXISTS (
        SELECT FROM role_assignments JOIN users ON users.id = user_id
        WHERE user_id = who AND role = wanted AND is_active
            AND (business_id IS NULL OR business_id = for_business)
            AND (expires_at IS NULL OR expires_at > now())
    );
END;
