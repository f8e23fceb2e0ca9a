-- What has to be done for a case before it can be decided.

CREATE TABLE checklists (
    id uuid DEFAULT gen_random_uuid(),
    case_id uuid NOT NULL,
    type text NOT NULL,
    status text NOT NULL DEFAULT 'Open',
    created_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    CONSTRAINT checklists_pkey PRIMARY KEY (id),
    CONSTRAINT checklists_type_key UNIQUE (case_id, type),
    CONSTRAINT checklists_type_is_known CHECK (type IN ('Individual', 'Corporate', 'Trust', 'EnhancedDueDiligence')),
    CONSTRAINT checklists_status_is_known CHECK (status IN ('Open', 'Completed', 'Cancelled')),
    CONSTRAINT checklists_completed_has_a_time CHECK ((status = 'Completed') = (completed_at IS NOT NULL))
);

CREATE TABLE checklist_items (
    id uuid DEFAULT gen_random_uuid(),
    checklist_id uuid NOT NULL,
    code text NOT NULL,
    name text NOT NULL,
    is_required boolean NOT NULL DEFAULT true,
    "order" integer NOT NULL,
    status text NOT NULL DEFAULT 'Pending',
    completed_at timestamptz,
    completed_by text,
    notes text,
    CONSTRAINT checklist_items_pkey PRIMARY KEY (id),
    CONSTRAINT checklist_items_checklist_fkey FOREIGN KEY (checklist_id) REFERENCES checklists ON DELETE CASCADE,
    CONSTRAINT checklist_items_code_key UNIQUE (checklist_id, code),
    -- Deferrable: items change places in one transaction.
    CONSTRAINT checklist_items_order_key UNIQUE (checklist_id, "order") DEFERRABLE,
    CONSTRAINT checklist_items_order_counts_from_one CHECK ("order" >= 1),
    CONSTRAINT checklist_items_status_is_known CHECK (status IN ('Pending', 'Completed', 'Skipped')),
    CONSTRAINT checklist_items_required_are_not_skipped CHECK (NOT is_required OR status <> 'Skipped'),
    CONSTRAINT checklist_items_completed_by_somebody
        CHECK ((status = 'Completed') = (completed_at IS NOT NULL AND completed_by IS NOT NULL))
);
