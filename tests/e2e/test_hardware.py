"""Guests that want other hardware than most: each is given what the check of its image found."""

import unittest

from abbild import ServiceTestCase


class Hardware(ServiceTestCase):
    def boot(self, name):
        """Makes a machine of a fixture, and returns what it says it is made of."""
        self.machine_of(name)
        self.assert_booted_from_config_drive(name, name)
        return self.customer.json("vm", "show", name)["abbild"]["hardware"]

    def test_uefi_with_variables_of_its_own(self):
        hardware = self.boot("uefi")
        self.assertEqual(hardware["firmware"], "uefi", hardware)
        self.assertIn("UEFI only", hardware["firmware_note"])
        self.customer.ssh("uefi", "test -d /sys/firmware/efi/efivars")

    def test_sectors_as_large_as_the_partition_table_has_them(self):
        hardware = self.boot("sectors-4k")
        self.assertEqual(hardware["sector_size"], 4096, hardware)
        size = self.customer.ssh("sectors-4k", "cat /sys/block/vda/queue/logical_block_size")
        self.assertEqual(size, "4096")


if __name__ == "__main__":
    unittest.main()
