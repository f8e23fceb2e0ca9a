"""Which entries of a dump are restored where some of its tables are asked for."""

import pytest
from servicedb.errors import Terminal
from servicedb.plan.backups.objects import Object, Objects
from servicedb.plan.backups.selection import parts, select
from servicedb.plan.backups.toc import entries

LISTING = """;
; Selected TOC Entries:
;
5; 2615 2200 SCHEMA - public owner
10; 1247 100 TYPE public state owner
;\tdepends on: 5
11; 1255 101 FUNCTION public stamp() owner
;\tdepends on: 5
20; 1259 200 TABLE public customers owner
;\tdepends on: 5
21; 1259 201 TABLE public orders owner
;\tdepends on: 10 5
22; 1259 202 SEQUENCE public orders_id_seq owner
;\tdepends on: 5 21
23; 0 0 SEQUENCE OWNED BY public orders_id_seq owner
;\tdepends on: 22
24; 1259 203 VIEW public busy owner
;\tdepends on: 21 5
30; 2606 300 CONSTRAINT public customers customers_pkey owner
;\tdepends on: 20
31; 2606 301 FK CONSTRAINT public orders orders_customer_fkey owner
;\tdepends on: 30 21 20
32; 2620 302 TRIGGER public orders stamped owner
;\tdepends on: 21 11
33; 0 0 COMMENT public TYPE state owner
;\tdepends on: 10
40; 1259 400 TABLE public events owner
;\tdepends on: 5
41; 1259 401 TABLE public events_1 owner
;\tdepends on: 40 5
42; 0 0 TABLE ATTACH public events_1 owner
;\tdepends on: 41 40
"""
OBJECTS = Objects(
    objects=(
        Object(catalog=1259, oid=200, kind="table", identity="public.customers"),
        Object(catalog=1259, oid=201, kind="table", identity="public.orders"),
        Object(catalog=1259, oid=400, kind="table", identity="public.events"),
        Object(catalog=1259, oid=401, kind="table", identity="public.events_1"),
        Object(catalog=2606, oid=301, kind="table constraint", identity="fkey on public.orders", table=201),
        Object(catalog=2606, oid=310, kind="table constraint", identity="positive on public.orders", table=201),
        Object(
            catalog=2606, oid=300, kind="table constraint", identity="customers_pkey on public.customers", table=200
        ),
    )
)


@pytest.mark.parametrize(
    ("tables", "chosen", "left_out"),
    [
        pytest.param(["public.customers"], {5, 20, 30}, 0, id="with its key"),
        pytest.param(["public.orders"], {5, 10, 11, 21, 22, 23, 32, 33}, 1, id="without what needs another"),
        pytest.param(["public.orders", "public.customers"], {5, 10, 11, 20, 21, 22, 23, 30, 31, 32, 33}, 0, id="both"),
        pytest.param(["public.events_1"], {5, 40, 41, 42}, 0, id="a partition"),
        pytest.param(["public.events"], {5, 40, 41, 42}, 0, id="a partitioned table"),
    ],
)
def test_a_table_comes_with_what_it_needs_and_what_is_its_own(tables, chosen, left_out):
    selection = select(entries(LISTING), OBJECTS, tables, ())
    assert selection.entries == chosen
    assert len(selection.left_out) == left_out


def test_what_has_to_be_there_afterwards_are_its_own_objects_with_those_of_its_words():
    found = select(entries(LISTING), OBJECTS, ["public.orders"], ()).of(OBJECTS)
    assert [one.oid for one in found.objects] == [201, 310]


@pytest.mark.parametrize(
    ("tables", "schemas"),
    [(["orders"], ()), (["public.none"], ()), (["public.busy"], ()), (["public.orders"], ["app"])],
)
def test_what_is_no_table_of_the_backup_is_refused(tables, schemas):
    with pytest.raises(Terminal, match="table"):
        select(entries(LISTING), OBJECTS, tables, schemas)


@pytest.mark.parametrize(
    ("identity", "named"),
    [
        ("public.orders", ("public", "orders")),
        ('"Odd one"."a.b ""c"', ("Odd one", 'a.b "c')),
        ("public.Orders", ("public", "Orders")),
        ("orders", None),
        ("a.b.c", None),
    ],
)
def test_how_a_table_is_written(identity, named):
    assert parts(identity) == named
